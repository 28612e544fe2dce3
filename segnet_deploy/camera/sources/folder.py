"""Sources without a camera: a drawn street that moves, and folders of images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from segnet_deploy.camera.sources.base import Pending, Wishes
from segnet_deploy.errors import InputError
from segnet_deploy.frames import IMAGE_SUFFIXES, read_image
from segnet_deploy.types import DEFAULT_SIZE, Frame

FOLDER_FPS = 10.0
SCENE_FPS = 30.0


class Synthetic:
    """A drawn street that glides by: for trying the loop with nothing."""

    name, live = "synthetic", True

    def __init__(self, wishes: Wishes):
        self._size = wishes.size or DEFAULT_SIZE
        self._fps = wishes.fps or SCENE_FPS

    def open(self, timeout: float) -> PacedStream:
        """Draw it; see Source."""
        return PacedStream(self._pictures(), self._fps)

    def _pictures(self) -> Iterator[Pending]:
        from segnet_deploy.scenes import draw_scene

        height, width = self._size
        street = draw_scene(1, height, 2 * width).frame
        there = list(range(0, width, 2))
        while True:
            for left in there + there[::-1]:
                yield (
                    lambda left=left: np.ascontiguousarray(  # type: ignore[misc]
                        street[:, left : left + width]
                    )
                )


class Folder:
    """The images of a folder in the order of their names, `fps` a second."""

    live = False

    def __init__(self, path: Path, wishes: Wishes):
        self.name = str(path)
        self._paths = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self._paths:
            raise InputError(f"--source {path} holds no image; expected PNG, JPEG or the like")
        self._loop = wishes.loop
        self._fps = (wishes.fps or FOLDER_FPS) if wishes.paced else None

    def open(self, timeout: float) -> PacedStream:
        """Start with the first image; see Source."""
        return PacedStream(self._pictures(), self._fps)

    def _pictures(self) -> Iterator[Pending]:
        while True:
            for path in self._paths:
                yield _reader(path)
            if not self._loop:
                return


class PacedStream:
    """Pictures, `fps` a second, or as fast as they are taken."""

    def __init__(self, pictures: Iterator[Pending], fps: float | None):
        self._pictures, self._interval = pictures, 1 / fps if fps else 0.0
        self._due = time.monotonic()
        self.errors = 0

    def read(self) -> Pending | None:
        """Wait until the next picture is due; see Stream."""
        now = time.monotonic()
        self._due = max(self._due, now - 1)  # after a pause do not hurry for more than a second
        time.sleep(max(0.0, self._due - now))
        self._due += self._interval
        return next(self._pictures, None)

    def close(self) -> None:
        """Nothing is held."""


def _reader(path: Path) -> Pending:
    def read() -> Frame:
        return read_image(path)

    return read
