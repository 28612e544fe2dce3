"""Read frames from images and videos, and write images.

A frame is (H, W, 3) uint8 BGR, a label map (H, W) uint8.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.errors import InputError
from segnet_deploy.files import atomic_write
from segnet_deploy.optional import require
from segnet_deploy.types import Frame

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})


def find_inputs(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the files of `paths`, with folders (sorted, not recursive) expanded.

    Of a folder, only images and videos are returned. Raises InputError for a path that does not
    exist, or for a folder without images and videos.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            suffixes = IMAGE_SUFFIXES | VIDEO_SUFFIXES
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes)
            if not files:
                raise InputError(f"{path} contains no image or video; expected {_suffixes()}")
            found += files
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"no such image, folder or video: {path}")
    return found


def is_video(path: Path) -> bool:
    """Return whether `path` has the suffix of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_image(path: str | os.PathLike[str], extra: str = "camera") -> Frame:
    """Read an image as BGR. Raises InputError if it is missing or corrupt.

    If OpenCV is missing, the error names `extra`: that of the command that reads the image.
    """
    cv2 = require("cv2", extra)
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error.strerror or error}") from error
    try:
        image: Frame | None = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:
        raise InputError(f"cannot decode image {path}: {error}") from error
    if image is None or not is_complete(data.tobytes()):
        raise InputError(f"cannot decode image {path}; expected a complete {_suffixes()}")
    return image


def write_png(path: str | os.PathLike[str], image: Frame) -> None:
    """Write (H, W) labels or (H, W, 3) BGR, completely or not at all. Raises InputError."""
    cv2 = require("cv2", extra="camera")
    encoded, data = cv2.imencode(".png", image)
    if not encoded:
        raise InputError(f"cannot encode {Path(path).name} as PNG")
    atomic_write(path, data.tobytes())


def is_complete(data: bytes) -> bool:
    """Return whether a PNG or JPEG has its end marker; other formats are not checked.

    Decoders silently fill in the missing part of a truncated image.
    """
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data[-4096:]
    if data.startswith(b"\xff\xd8"):
        return _has_jpeg_end(data)
    return True


def _has_jpeg_end(data: bytes) -> bool:
    """Return whether a JPEG's segments reach its end marker; phones append videos after it."""
    position = 2
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        marker = data[position + 1]
        if marker == 0xD9:
            return True
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD7:  # these have no length
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


@dataclass
class Video:
    """An open video. Iterate `frames()` once.

    `fps` is frames per second; `count` is what the file states, 0 if unknown. `lost` is the number
    of frames that could not be decoded, known after the last frame.
    """

    path: Path
    fps: float
    count: int
    capture: Any
    lost: int = 0

    def frames(self) -> Iterator[Frame]:
        """Yield the frames up to the end, past damaged ones, then release the file."""
        decoded = failed = holes = 0
        try:
            while True:
                more, frame = self.capture.read()
                if more:
                    decoded, holes = decoded + 1, holes + failed
                    failed = 0
                    yield frame
                elif decoded + holes + failed < self.count:
                    failed += 1
                else:
                    break
            # Some containers only estimate their number of frames: a few may be missing at the end.
            at_end = failed if failed > max(2, self.count // 50) else 0
            self.lost = holes + at_end
        finally:
            self.capture.release()


def open_video(path: str | os.PathLike[str]) -> Video:
    """Open a video file. Raises InputError if it cannot be decoded."""
    cv2 = require("cv2", extra="camera")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise InputError(f"cannot decode video {path}; convert it to H.264 in .mp4")
    fps = capture.get(cv2.CAP_PROP_FPS)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return Video(Path(path), fps if 0 < fps < 1000 else 25.0, max(count, 0), capture)


def _suffixes() -> str:
    return "image (" + ", ".join(sorted(IMAGE_SUFFIXES)) + ")"
