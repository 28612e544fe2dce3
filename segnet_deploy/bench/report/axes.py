"""Axes of a drawing: each draws its grid and ticks and returns where a value lies, in px."""

from __future__ import annotations

import math
from collections.abc import Callable

from segnet_deploy.bench.report.svg import WIDTH, Drawing, ticks

LEFT, TOP, HEIGHT = 50.0, 16.0, 210.0


def axis_x(drawing: Drawing, most: float, unit: str) -> Callable[[float], float]:
    """Draw a linear axis from 0 to `most` at the bottom."""

    def place(value: float) -> float:
        return LEFT + value / (most or 1) * (WIDTH - LEFT - 8)

    bottom = TOP + HEIGHT
    for tick in ticks(0, most):
        drawing.tick(place(tick), bottom + 16, f"{tick:g} {unit}")
    drawing.line(LEFT, bottom, WIDTH, bottom, "axis")
    drawing.height = bottom + 22
    return place


def axis_y(drawing: Drawing, most: float, unit: str) -> Callable[[float], float]:
    """Draw a linear axis from 0 to a little more than `most` on the left."""

    def place(value: float) -> float:
        return TOP + HEIGHT * (1 - value / (most * 1.05 or 1))

    for tick in ticks(0, most):
        drawing.line(LEFT, place(tick), WIDTH, place(tick), "grid")
        drawing.text(LEFT - 6, place(tick) + 4, f"{tick:g}", "small", "end")
    drawing.text(0, TOP - 3, unit, "small")
    return place


def axis_log(
    drawing: Drawing, low: float, high: float, unit: str, upwards: bool
) -> Callable[[float], float]:
    """Draw a logarithmic axis on the left (`upwards`) or at the bottom."""
    span = math.log10(high / low)
    bottom = TOP + HEIGHT

    def place(value: float) -> float:
        part = math.log10(value / low) / span
        return bottom - HEIGHT * part if upwards else LEFT + part * (WIDTH - LEFT)

    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for tick in (m * 10.0**e for e in range(first, last + 1) for m in (1, 3)):
        if not low <= tick <= high:
            continue
        if upwards:
            drawing.line(LEFT, place(tick), WIDTH, place(tick), "grid")
            drawing.text(LEFT - 6, place(tick) + 4, f"{tick:g}", "small", "end")
        else:
            drawing.line(place(tick), TOP, place(tick), bottom, "grid")
            drawing.tick(place(tick), bottom + 16, f"{tick:g}")
    if upwards:
        drawing.text(0, TOP - 4, unit, "small")
    else:
        drawing.text(WIDTH, bottom + 32, unit, "small", "end")
        drawing.height = bottom + 36
    return place
