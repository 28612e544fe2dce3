"""Time of the host's steps, and of the nets between them."""

from __future__ import annotations

import time
from typing import Any

from segnet_deploy.runtimes.ncnn.execution import Execution
from segnet_deploy.runtimes.ncnn.program import HostStep
from segnet_deploy.types import Array

Seconds = dict[tuple[str, str], float]
"""Seconds by blob and kind of step."""


class TimedExecution(Execution):
    """An execution that adds the time of each step to `seconds`.

    ncnn computes a blob when it is extracted: that is the time of the `net`, not of the step.
    """

    def __init__(self, seconds: Seconds, *arguments: Any):
        super().__init__(*arguments)
        self._seconds, self._net_seconds = seconds, 0.0

    def _input(self, image: Array) -> Any:
        before = time.perf_counter()
        mat = super()._input(image)
        self._add(self._program.input_blob, "input", time.perf_counter() - before)
        return mat

    def _do(self, step: HostStep) -> None:
        before, net_before = time.perf_counter(), self._net_seconds
        super()._do(step)
        in_net = self._net_seconds - net_before
        name = (step.results or step.sources)[0]
        self._add(name, step.kind, time.perf_counter() - before - in_net)

    def _extract(self, name: str, layout: int) -> Any:
        before = time.perf_counter()
        mat = super()._extract(name, layout)
        passed = time.perf_counter() - before
        self._net_seconds += passed
        self._add(name, "net", passed)
        return mat

    def _add(self, name: str, kind: str, seconds: float) -> None:
        self._seconds[name, kind] = self._seconds.get((name, kind), 0.0) + seconds
