"""A synthetic moving street scene: to try the loop without a camera."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from segnet_deploy.camera.sources.base import PendingFrame, SourceOptions
from segnet_deploy.camera.sources.paced_stream import PacedStream
from segnet_deploy.types import DEFAULT_SIZE, Frame

FPS = 30.0
STEP_PX = 2  # per frame


class Synthetic:
    """A window that pans over a street scene of twice its width, to and fro."""

    name, live = "synthetic", True

    def __init__(self, options: SourceOptions):
        self._size = options.size or DEFAULT_SIZE
        self._fps = options.fps or FPS

    def open(self, timeout: float) -> PacedStream:
        """Draw the scene; see Source."""
        return PacedStream(self._pictures(), self._fps)

    def _pictures(self) -> Iterator[PendingFrame]:
        from segnet_deploy.scenes import draw_scene

        height, width = self._size
        scene = draw_scene(1, height, 2 * width).frame
        forward = list(range(0, width, STEP_PX))
        while True:
            for left in forward + forward[::-1]:
                yield partial(_crop, scene, left, width)


def _crop(scene: Frame, left: int, width: int) -> Frame:
    return np.ascontiguousarray(scene[:, left : left + width])
