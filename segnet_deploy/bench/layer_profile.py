"""Time per layer in every runtime that can tell.

ONNX Runtime by its profiler, OpenVINO by its performance counters, TensorRT by IProfiler. The
names and fusions are the runtime's own; measuring costs time, so these are no latencies.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

RUNS = 5
SHOWN = 12


def layers(
    path: str | os.PathLike[str],
    runtime: str = "auto",
    threads: int | None = None,
    runs: int = RUNS,
) -> list[dict[str, Any]] | None:
    """Open a file and return the layers' `name`, `op` and median `seconds` over `runs`.

    None where the runtime cannot tell. Raises what segnet_deploy.load raises.
    """
    from segnet_deploy.scenes import draw_scene
    from segnet_deploy.segmenter import load

    with load(path, runtime, threads=threads) as segmenter:
        profile = getattr(segmenter.engine, "profile", None)
        if profile is None:
            return None
        height, width = segmenter.size
        frame = draw_scene(0, height or 360, width or 480).frame
        x = segmenter.preprocess([frame]).x
        segmenter.infer(x)
        found: list[dict[str, Any]] = profile(x, runs)
        return found


def by_operator(found: Sequence[dict[str, Any]]) -> list[tuple[str, int, float]]:
    """Return operator, count and seconds, the slowest first."""
    sums: dict[str, tuple[int, float]] = {}
    for layer in found:
        count, seconds = sums.get(layer["op"], (0, 0.0))
        sums[layer["op"]] = (count + 1, seconds + layer["seconds"])
    rows = [(op, count, seconds) for op, (count, seconds) in sums.items()]
    return sorted(rows, key=lambda row: -row[2])


def format_layers(found: Sequence[dict[str, Any]]) -> str:
    """Return two tables: seconds by operator, and the slowest layers."""
    total = sum(layer["seconds"] for layer in found) or 1.0
    lines = [f"{'operator':28}{'layers':>8}{'ms':>10}{'share':>8}"]
    for op, count, seconds in by_operator(found):
        lines.append(f"{op[:27]:28}{count:8d}{seconds * 1e3:10.2f}{seconds / total:8.1%}")
    lines += ["", f"{'slowest layers':52}{'ms':>10}{'share':>8}"]
    for layer in sorted(found, key=lambda layer: -layer["seconds"])[:SHOWN]:
        name = f"{layer['op']} {layer['name']}"
        name = name if len(name) < 52 else f"{name[:48]}..."
        lines.append(f"{name:52}{layer['seconds'] * 1e3:10.2f}{layer['seconds'] / total:8.1%}")
    return "\n".join(lines)
