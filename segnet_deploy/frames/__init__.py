"""Frames from images and videos, for every command: one reading of each kind of file.

A frame is (H, W, 3) uint8 BGR, upright as the file asks for; a label map is (H, W) uint8.

inputs   which files are images and videos, by suffix or content; what a folder scan leaves out
images   read an image, write a PNG; damage finds damaged images
decoder  decode a video or a network stream; videos opens a video file
"""

from __future__ import annotations

from segnet_deploy.frames.images import (
    decode_image,
    encode_image,
    encode_png,
    read_image,
    write_png,
)
from segnet_deploy.frames.inputs import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    find_inputs,
    group_alike,
    is_video,
    scan_folder,
    spread,
)
from segnet_deploy.frames.videos import Video, open_video

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Video",
    "decode_image",
    "encode_image",
    "encode_png",
    "find_inputs",
    "group_alike",
    "is_video",
    "open_video",
    "read_image",
    "scan_folder",
    "spread",
    "write_png",
]
