"""Axes of a drawing: each draws its grid and ticks and returns the map from values to px."""

from __future__ import annotations

import math
from collections.abc import Callable

from segnet_deploy.bench.report.svg import WIDTH, Drawing, ticks

LEFT, TOP, HEIGHT = 50.0, 16.0, 210.0


def draw_x_axis(drawing: Drawing, maximum: float, unit: str) -> Callable[[float], float]:
    """Draw a linear axis from 0 to `maximum` at the bottom."""

    def to_px(value: float) -> float:
        return LEFT + value / (maximum or 1) * (WIDTH - LEFT - 8)

    bottom = TOP + HEIGHT
    for tick in ticks(0, maximum):
        drawing.tick(to_px(tick), bottom + 16, f"{tick:g} {unit}")
    drawing.line(LEFT, bottom, WIDTH, bottom, "axis")
    drawing.height = bottom + 22
    return to_px


def draw_y_axis(drawing: Drawing, maximum: float, unit: str) -> Callable[[float], float]:
    """Draw a linear axis from 0 to slightly above `maximum` on the left."""

    def to_px(value: float) -> float:
        return TOP + HEIGHT * (1 - value / (maximum * 1.05 or 1))

    for tick in ticks(0, maximum):
        drawing.line(LEFT, to_px(tick), WIDTH, to_px(tick), "grid")
        drawing.text(LEFT - 6, to_px(tick) + 4, f"{tick:g}", "small", "end")
    drawing.text(0, TOP - 3, unit, "small")
    return to_px


def draw_log_axis(
    drawing: Drawing, low: float, high: float, unit: str, *, vertical: bool
) -> Callable[[float], float]:
    """Draw a logarithmic axis on the left (`vertical`) or at the bottom."""
    span = math.log10(high / low)
    bottom = TOP + HEIGHT

    def to_px(value: float) -> float:
        fraction = math.log10(value / low) / span
        return bottom - HEIGHT * fraction if vertical else LEFT + fraction * (WIDTH - LEFT)

    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for tick in (m * 10.0**e for e in range(first, last + 1) for m in (1, 3)):
        if not low <= tick <= high:
            continue
        if vertical:
            drawing.line(LEFT, to_px(tick), WIDTH, to_px(tick), "grid")
            drawing.text(LEFT - 6, to_px(tick) + 4, f"{tick:g}", "small", "end")
        else:
            drawing.line(to_px(tick), TOP, to_px(tick), bottom, "grid")
            drawing.tick(to_px(tick), bottom + 16, f"{tick:g}")
    if vertical:
        drawing.text(0, TOP - 4, unit, "small")
    else:
        drawing.text(WIDTH, bottom + 32, unit, "small", "end")
        drawing.height = bottom + 36
    return to_px
