"""Accuracy on labelled frames, and how far two files agree."""

LAYOUTS = ("camvid", "folders", "sunrgbd")
"""How a folder of labelled frames is laid out: see datasets.find_examples."""
