"""Timing of the pipeline stages from frame to label map, one call at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segnet_deploy.segmenter import Segmenter
    from segnet_deploy.types import Array, Clock, Frame

STAGES = ("pre", "infer", "post", "total")


class StageTimer:
    """Segments a full batch of `frame` per call and collects the seconds of each stage.

    `infer` is the network with its transfers; on a GPU, `gpu` is the engine alone.
    """

    def __init__(self, segmenter: Segmenter, frame: Frame, clock: Clock = time.perf_counter):
        self._segmenter, self._clock = segmenter, clock
        self._samples: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self.frames = [frame] * (segmenter.batch or 1)

    def __call__(self) -> None:
        start = self._clock()
        prepared = self._segmenter.preprocess(self.frames)
        ready = self._clock()
        raw = self._infer(prepared.x)
        inferred = self._clock()
        self._segmenter.postprocess(raw, prepared.placements)
        end = self._clock()
        if (gpu := self._segmenter.engine.gpu_seconds) is not None:
            self._samples.setdefault("gpu", []).append(gpu)
        times = (ready - start, inferred - ready, end - inferred, end - start)
        for stage, seconds in zip(STAGES, times, strict=True):
            self._samples[stage].append(seconds)

    def _infer(self, x: Array) -> Array:
        """Return the label output; of a file that samples its dropout the maps are computed too."""
        if not self._segmenter.has_uncertainty:
            return self._segmenter.infer(x)
        engine = self._segmenter.engine
        return engine.run_all(x)[engine.outputs[0].name]

    def pop_samples(self) -> dict[str, list[float]]:
        """Return the samples by stage and forget them."""
        samples = self._samples
        self._samples = {stage: [] for stage in samples}
        return samples
