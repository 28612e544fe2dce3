"""A segmenter whose engine sleeps: for tests and soaks of the loop, not of an engine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.function_engine import FunctionEngine
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Array


def sleeping(seconds: float, before: Callable[[], None] | None = None) -> Segmenter:
    """Return a segmenter of four classes that takes `seconds` a frame; `before` may raise."""
    classes = ("dark", "dim", "light", "bright")
    palette = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128))
    metadata = Metadata(classes=classes, palette=palette, io="frame")
    inputs = (Port("frames", (1, None, None, 3), np.dtype(np.uint8)),)
    outputs = (Port("labels", (1, None, None), np.dtype(np.uint8)),)

    def run(x: Array) -> Array:
        if before is not None:
            before()
        time.sleep(seconds)
        labels: Array = x[..., 1] >> 6
        return labels

    return Segmenter(FunctionEngine(run, inputs, outputs, name="sleep", metadata=metadata))
