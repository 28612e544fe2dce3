"""Segment archives: many images, videos, tars and Parquet files, on a Ray cluster or without.

storage          files by path or URI
archive          which inputs there are, and their shards
items            the frames of a shard
worker           segment a shard; outputs writes the results, manifest records the shard
run_local        shards one after another in this process; run_ray, on Ray Data
segment_archive  the whole; estimate counts inputs and measures a sample instead
"""

from __future__ import annotations

FORMATS = ("parquet", "png", "webdataset")
"""What results are written as."""
