"""Write pictures as a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segnet_deploy.errors import InputError
from segnet_deploy.optional import require
from segnet_deploy.types import Frame


class VideoFile:
    """An MP4 file, opened at its first picture."""

    def __init__(self, path: Path, fps: float):
        self._path, self._fps = path, fps
        self._writer: Any = None

    def write(self, picture: Frame) -> None:
        """Append a picture, (H, W, 3) uint8 BGR. Raises InputError."""
        if self._writer is None:
            self._writer = self._open(picture)
        self._writer.write(picture)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, picture: Frame) -> Any:
        cv2: Any = require("cv2", extra="camera")
        size = (picture.shape[1], picture.shape[0])
        codec = cv2.VideoWriter_fourcc(*"mp4v")
        # With its folder, since a name such as 12:30.mp4 would be taken for a protocol.
        writer = cv2.VideoWriter(str(self._path.absolute()), codec, self._fps, size)
        if not writer.isOpened():
            raise InputError(
                f"cannot write a video of {size[0]}x{size[1]}; OpenCV has no encoder for it"
            )
        return writer
