"""Where frames come from: `find_source(uri)` says what a URI means.

A source is opened into a stream, again and again where it is live; a stream gives frames
that are decoded and not yet converted, so that a dropped frame costs no conversion.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from segnet_deploy.errors import InputError
from segnet_deploy.frames import IMAGE_SUFFIXES
from segnet_deploy.types import Frame

Pending = Callable[[], Frame]  # converts a decoded picture to (H, W, 3) uint8 BGR

EXPECTED = (
    "a device (/dev/video0), rtsp:// or http:// URL, video file, folder of images, csi://0, "
    "GStreamer pipeline (with ' ! ') or 'synthetic'"
)


class SourceLostError(InputError):
    """A source cannot be opened or has ended too soon; a live one is opened again."""


class Stream(Protocol):
    """An open source, used by one thread. No call may block for much longer than its timeout."""

    def read(self) -> Pending | None:
        """Wait for the next frame; None at the end. Raises SourceLostError."""

    def close(self) -> None:
        """Give device, socket and memory back."""


class Source(Protocol):
    """Something that can be opened. `name` is fit to be shown: without a password."""

    name: str
    live: bool

    def open(self, timeout: float) -> Stream:
        """Open it; no frame for `timeout` seconds is a loss. Raises SourceLostError."""


@dataclass(frozen=True)
class Wishes:
    """What a user may ask of a source; each kind takes what it knows."""

    size: tuple[int, int] | None = None  # (height, width) in px
    fps: float | None = None
    loop: bool = False  # files start again at their end
    paced: bool = True  # files play at their own speed
    transport: str = "tcp"  # of RTSP


def find_source(uri: str, wishes: Wishes | None = None) -> Source:
    """Return the source that `uri` names. Raises InputError where it names none."""
    from segnet_deploy.camera.sources import av_stream, folder, gstreamer, v4l2

    wishes = wishes or Wishes()
    scheme = urlsplit(uri).scheme.lower() if "://" in uri else ""
    if uri == "synthetic":
        return folder.Synthetic(wishes)
    if uri.isdigit() or uri.startswith("/dev/video"):
        return v4l2.Device(f"/dev/video{uri}" if uri.isdigit() else uri, wishes)
    if scheme == "csi" or " ! " in uri:
        return gstreamer.Pipeline(uri, wishes)
    if scheme in ("rtsp", "rtsps", "http", "https"):
        return av_stream.Network(uri, wishes)
    path = Path(uri)
    if path.is_dir():
        return folder.Folder(path, wishes)
    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return av_stream.File(path, wishes)
    what = "no such file or folder" if not scheme and not path.exists() else "not a camera source"
    raise InputError(f"--source {without_password(uri)}: {what}; expected {EXPECTED}")


def without_password(text: str) -> str:
    """Return `text` with the user and password of each URL in it replaced."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)
