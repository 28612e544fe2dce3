"""Time per layer, in every runtime that reports it.

ONNX Runtime by its profiler, OpenVINO by its performance counters, TensorRT by IProfiler. Names
and fusions are the runtime's own. Profiling itself takes time, so these are not latencies.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from segnet_deploy.types import DEFAULT_SIZE

RUNS = 5
MAX_ROWS = 12  # of the slowest layers

Layer = dict[str, Any]
"""`name`, `op` and median `seconds`."""


def profile_layers(
    path: str | os.PathLike[str],
    runtime: str = "auto",
    threads: int | None = None,
    runs: int = RUNS,
) -> list[Layer] | None:
    """Open a file and return the `name`, `op` and median `seconds` of each layer over `runs`.

    None if the runtime does not report them. Raises what segnet_deploy.load raises.
    """
    from segnet_deploy.scenes import draw_scene
    from segnet_deploy.segmenter import load

    with load(path, runtime, threads=threads) as segmenter:
        height, width = segmenter.size
        scene = draw_scene(0, height or DEFAULT_SIZE[0], width or DEFAULT_SIZE[1])
        x = segmenter.preprocess([scene.frame]).x
        segmenter.infer(x)
        return segmenter.engine.profile(x, runs)


def sum_by_operator(layers: Sequence[Layer]) -> list[tuple[str, int, float]]:
    """Return operator, number of layers and seconds, the slowest operator first."""
    sums: dict[str, tuple[int, float]] = {}
    for layer in layers:
        count, seconds = sums.get(layer["op"], (0, 0.0))
        sums[layer["op"]] = (count + 1, seconds + layer["seconds"])
    rows = [(op, count, seconds) for op, (count, seconds) in sums.items()]
    return sorted(rows, key=lambda row: -row[2])


def format_layers(layers: Sequence[Layer]) -> str:
    """Return two tables: time by operator, and the slowest layers."""
    total = sum(layer["seconds"] for layer in layers) or 1.0
    lines = [f"{'operator':28}{'layers':>8}{'ms':>10}{'share':>8}"]
    for op, count, seconds in sum_by_operator(layers):
        lines.append(f"{op[:27]:28}{count:8d}{seconds * 1e3:10.2f}{seconds / total:8.1%}")
    lines += ["", f"{'slowest layers':52}{'ms':>10}{'share':>8}"]
    for layer in sorted(layers, key=lambda layer: -layer["seconds"])[:MAX_ROWS]:
        name = f"{layer['op']} {layer['name']}"
        name = name if len(name) < 52 else f"{name[:48]}..."
        lines.append(f"{name:52}{layer['seconds'] * 1e3:10.2f}{layer['seconds'] / total:8.1%}")
    return "\n".join(lines)
