"""Time per layer through TensorRT's IProfiler. Nothing here has run on a GPU yet."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any


def layer_times(
    trt: Any, context: Any, execute: Callable[[], None], runs: int
) -> list[dict[str, Any]]:
    """Execute `runs` times with a profiler; return each layer's name and median seconds.

    Engines report fused layers by the names of their parts, so `op` is always `layer`.
    """
    times: dict[str, list[float]] = {}

    class Profiler(trt.IProfiler):  # type: ignore[misc]  # a base class of TensorRT
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times.setdefault(layer_name, []).append(ms / 1e3)

    context.profiler = Profiler()
    try:
        for _ in range(runs):
            execute()
    finally:
        context.profiler = None
    return [
        {"name": name, "op": "layer", "seconds": statistics.median(values)}
        for name, values in times.items()
    ]
