"""Marks of a drawing: SVG text whose colours come from chart.css, so that it follows the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib import resources

WIDTH = 400.0  # a card's width in px, so that letters keep their size
LETTER, BOLD = 6.9, 7.6  # width of a small and a normal letter, px, a little more than the mean
WIDE = 8.6  # of a small letter where signs and digits are many
SERIES = 8


class Drawing:
    """SVG of a fixed width that grows downwards; (0, 0) is the top left corner."""

    def __init__(self, height: float = 0.0):
        self.height = height
        self._marks: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Draw a bar of at least half a pixel."""
        self._marks.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" '
            f'height="{height:.1f}" rx="{min(2.0, width / 3, height / 3):.1f}"/>'
        )

    def line(self, x: float, y: float, to_x: float, to_y: float, kind: str) -> None:
        """Draw a straight line."""
        self._marks.append(
            f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'
        )

    def curve(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Draw straight lines through points."""
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._marks.append(f'<polyline class="{kind}" points="{text}"/>')

    def dot(self, x: float, y: float, radius: float, kind: str) -> None:
        """Draw a disc."""
        self._marks.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Write one line with its baseline at y."""
        self._marks.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def tick(self, x: float, y: float, text: str) -> None:
        """Write a small label centred on x, moved as far as it needs to stay inside."""
        half = WIDE * len(text) / 2
        self.text(min(max(x, half), WIDTH - half), y, text, "small", "middle")

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        """Write (kind, name) entries below, in as many lines as they need."""
        x, y = 0.0, self.height + 16
        for kind, name in entries:
            name = shorten(name, 40)
            width = 18 + len(name) * LETTER + 14
            if x and x + width > WIDTH:
                x, y = 0.0, y + 19
            self.rect(x, y - 9, 11, 11, kind)
            self.text(x + 17, y, name, "small")
            x += width
        self.height = y + 6

    def svg(self, title: str, description: str, standalone: bool = False) -> str:
        """Return the element; standalone, it has its own colours and can be a file."""
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
    """Return the rules that colour a drawing, light and dark."""
    return (resources.files(__package__) / "chart.css").read_text(encoding="utf-8")


def series(place: int) -> str:
    """Return the class of the colour at a place; they begin again after SERIES."""
    return f"s{place % SERIES + 1}"


def shorten(text: str, most: int) -> str:
    """Return `text`, cut in its middle where it is longer than `most`."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers, about `count`, that lie in [low, high]."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    rough = span / count
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]
