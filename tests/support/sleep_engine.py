"""A segmenter whose engine sleeps: for tests and soaks of the loop, not of an engine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes import Port
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Array


class SleepEngine:
    """Takes uint8 frames, sleeps, and gives labels that follow the picture's brightness."""

    name, device, lowered = "sleep", "cpu", False
    gpu_seconds = device_bytes = None
    computes_half = False
    inputs = (Port("frames", (1, None, None, 3), np.dtype(np.uint8)),)
    outputs = (Port("labels", (1, None, None), np.dtype(np.uint8)),)

    def __init__(self, seconds: float, before: Callable[[], None] | None = None):
        self.seconds, self.before = seconds, before

    def run(self, x: Array) -> Array:
        if self.before is not None:
            self.before()
        time.sleep(self.seconds)
        return x[..., 1] >> 6

    def run_all(self, x: Array) -> dict[str, Array]:
        return {"labels": self.run(x)}

    def close(self) -> None:
        """Nothing is held."""


def sleeping(seconds: float, before: Callable[[], None] | None = None) -> Segmenter:
    """Return a segmenter of four classes that takes `seconds` a frame; `before` may raise."""
    classes = ("dark", "dim", "light", "bright")
    palette = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128))
    metadata = Metadata(classes=classes, palette=palette, io="frame")
    return Segmenter(SleepEngine(seconds, before), metadata)
