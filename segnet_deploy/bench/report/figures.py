"""The figures of a report, in order. A figure function returns None if its data are missing."""

from __future__ import annotations

from collections.abc import Callable

from segnet_deploy.bench.report.bar_charts import draw_memory, draw_model_size, draw_time
from segnet_deploy.bench.report.figure import Figure
from segnet_deploy.bench.report.layer_chart import draw_layers
from segnet_deploy.bench.report.line_charts import draw_memory_timeline, draw_roofline
from segnet_deploy.bench.report.sample_chart import draw_samples
from segnet_deploy.bench.result import Comparison

FIGURES: dict[str, Callable[[Comparison], Figure | None]] = {
    "time": draw_time,
    "memory": draw_memory,
    "size": draw_model_size,
    "latency": draw_samples,
    "memory-time": draw_memory_timeline,
    "layers": draw_layers,
    "roofline": draw_roofline,
}
NAMES = tuple(FIGURES)


def draw_figures(comparison: Comparison) -> list[Figure]:
    """Return every figure whose data the comparison contains."""
    figures = (draw(comparison) for draw in FIGURES.values())
    return [figure for figure in figures if figure is not None]
