"""Interleaved timing, time by operator, and cases that cannot run on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from segnet_deploy.bench.layer_profile import sum_by_operator
from segnet_deploy.bench.timing import Timing, interleaved
from segnet_deploy.errors import SegNetError
from segnet_deploy.progress import Progress
from segnet_deploy.runtimes.base import Engine
from segnet_deploy.types import Array, Clock

PAUSE = 0.25  # s; the thread pools of other libraries spin for a while after a call
PROFILED_RUNS = 3
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}  # of --clock

Case = TypeVar("Case")
Figure = TypeVar("Figure")


def time_in_turns(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warm_ups: int = 2,
    clock: Clock = time.perf_counter,
) -> dict[str, Timing]:
    """Return seconds of each call, timed once per round after a pause."""
    return interleaved(calls, rounds, warm_ups=warm_ups, pause=PAUSE, clock=clock)


def time_by_operator(engine: Engine, x: Array) -> dict[str, float]:
    """Return seconds of one run by operator, the slowest first.

    Empty if the runtime does not report them. The names are the runtime's own.
    """
    layers = engine.profile(x, PROFILED_RUNS) or []
    return {operator: seconds for operator, _, seconds in sum_by_operator(layers) if seconds > 0}


def measure_each(
    cases: Iterable[Case], measure: Callable[[Case], Figure], progress: Progress
) -> dict[str, Figure]:
    """Return the figure of each case by its name; a case that fails is reported and left out."""
    figures = {}
    for case in cases:
        try:
            figures[str(case)] = measure(case)
        except SegNetError as error:
            report_left_out(case, error, progress)
    return figures


def report_left_out(case: Any, error: Exception, progress: Progress) -> None:
    """Report a case that cannot run here, and the first line of the reason."""
    progress(f"left out: {case}: {str(error).splitlines()[0]}")
