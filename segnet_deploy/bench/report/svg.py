"""Drawings as SVG text. Colours are classes of chart.css, so that they follow the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib import resources

WIDTH = 400.0  # px, the width of a card, so that letters keep their size
# Width of a letter in px, slightly above the mean: of small and normal text, and of small text
# that consists of digits and signs.
SMALL_WIDTH, BOLD_WIDTH, DIGIT_WIDTH = 6.9, 7.6, 8.6
SERIES = 8  # colours


class Drawing:
    """An SVG of fixed width that grows downwards; (0, 0) is the top left corner.

    `css` is a class of chart.css.
    """

    def __init__(self, height: float = 0.0):
        self.height = height
        self._marks: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, css: str) -> None:
        """Draw a bar at least half a pixel wide."""
        self._marks.append(
            f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" '
            f'height="{height:.1f}" rx="{min(2.0, width / 3, height / 3):.1f}"/>'
        )

    def line(self, x: float, y: float, to_x: float, to_y: float, css: str) -> None:
        """Draw a straight line."""
        self._marks.append(
            f'<line class="{css}" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'
        )

    def curve(self, points: Sequence[tuple[float, float]], css: str) -> None:
        """Draw straight lines through `points`."""
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._marks.append(f'<polyline class="{css}" points="{text}"/>')

    def dot(self, x: float, y: float, radius: float, css: str) -> None:
        """Draw a disc."""
        self._marks.append(f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        """Write one line of text with its baseline at `y`."""
        self._marks.append(
            f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def tick(self, x: float, y: float, text: str) -> None:
        """Write a small label centred on `x`, moved if necessary to stay inside."""
        half = DIGIT_WIDTH * len(text) / 2
        self.text(min(max(x, half), WIDTH - half), y, text, "small", "middle")

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        """Write (css, name) entries below the drawing, in as many lines as necessary."""
        x, y = 0.0, self.height + 16
        for css, name in entries:
            name = shorten(name, 40)
            width = 18 + len(name) * SMALL_WIDTH + 14
            if x and x + width > WIDTH:
                x, y = 0.0, y + 19
            self.rect(x, y - 9, 11, 11, css)
            self.text(x + 17, y, name, "small")
            x += width
        self.height = y + 6

    def svg(self, title: str, description: str, standalone: bool = False) -> str:
        """Return the element; a `standalone` one contains its colours and can be a file."""
        head = f"<style>{chart_css()}.chart {{ background: var(--back); }}</style>"
        head = head if standalone else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" '
            f'viewBox="0 0 {WIDTH:.0f} {math.ceil(self.height)}" '
            f'aria-label="{escape(title)}. {escape(description)}">'
            f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{head}"
            + "".join(self._marks)
            + "</svg>"
        )


def chart_css() -> str:
    """Return the style sheet of drawings, light and dark."""
    return (resources.files(__package__) / "chart.css").read_text(encoding="utf-8")


def series_class(index: int) -> str:
    """Return the class of a series' colour; colours repeat after SERIES."""
    return f"s{index % SERIES + 1}"


def shorten(text: str, max_length: int) -> str:
    """Return `text` with its middle replaced by … if it is longer than `max_length`."""
    if len(text) <= max_length:
        return text
    half = (max_length - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers in [low, high]."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    rough = span / count
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]
