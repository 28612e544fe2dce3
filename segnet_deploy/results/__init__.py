"""What a segmented frame gives: `Result`, and the forms in which others read it.

result       Result: labels with classes, overlay, shares, times and origin
sources      the frames of what users call a segmenter with: arrays, files, folders, videos
coco         run-length codes and documents as COCO has them; run_lengths, of a label map
polygons     outlines of the areas of each class
window       a window that shows pictures
"""

from __future__ import annotations

from segnet_deploy.results.result import Result, Times

__all__ = ["Result", "Times"]
