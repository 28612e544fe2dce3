"""The parts of a frame's way to its labels, timed one call at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segnet_deploy.segmenter import Segmenter
    from segnet_deploy.types import Clock, Frame

PARTS = ("pre", "infer", "post", "total")


class PartTimer:
    """Call it to segment a full batch of `frame`; `samples` grows by the seconds of each part.

    `infer` is the network with the transfers around it; on a GPU `gpu` is the engine alone.
    """

    def __init__(self, segmenter: Segmenter, frame: Frame, clock: Clock = time.perf_counter):
        self._segmenter, self._clock = segmenter, clock
        self.frames = [frame] * (segmenter.batch or 1)
        self.samples: dict[str, list[float]] = {part: [] for part in PARTS}

    def __call__(self) -> None:
        start = self._clock()
        prepared = self._segmenter.preprocess(self.frames)
        ready = self._clock()
        raw = self._segmenter.infer(prepared.x)
        inferred = self._clock()
        self._segmenter.postprocess(raw, prepared.placements)
        end = self._clock()
        if (gpu := self._segmenter.engine.gpu_seconds) is not None:
            self.samples.setdefault("gpu", []).append(gpu)
        times = (ready - start, inferred - ready, end - inferred, end - start)
        for part, seconds in zip(PARTS, times, strict=True):
            self.samples[part].append(seconds)

    def take(self) -> dict[str, list[float]]:
        """Return the samples since the last take, and start anew."""
        taken = {part: list(values) for part, values in self.samples.items()}
        for values in self.samples.values():
            values.clear()
        return taken
