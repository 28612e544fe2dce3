"""Draw unpooling.svg, with and without indices, and lowered.svg, into docs/pictures.

    python docs/extension/draw_unpooling.py

The values come from `pool` and the functions below it, so that the drawing shows what is computed.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

SOURCE = ((1, 7, 4, 4), (3, 2, 0, 4), (5, 5, 2, 9), (5, 1, 8, 6))
CELL, GAP, TOP = 34, 64, 74  # px
COLOURS = ("#cfe3ff", "#d8f1d4", "#ffe2c2", "#ead7f5")  # of the four windows
CODES = ("00", "01", "10", "11")
Grid = tuple[tuple[int, ...], ...]


def pool(source: Grid) -> tuple[Grid, Grid]:
    """Return the maximum of each 2x2 window and its code: 2 * row + column of the first one."""
    values, codes = [], []
    for row in range(0, len(source), 2):
        windows = [
            [source[row + i][column + j] for i in (0, 1) for j in (0, 1)]
            for column in range(0, len(source[0]), 2)
        ]
        values.append(tuple(max(window) for window in windows))
        codes.append(tuple(window.index(max(window)) for window in windows))
    return tuple(values), tuple(codes)


def unpool(values: Grid, codes: Grid) -> Grid:
    """Return a grid of zeros with each value at the place that its code names."""
    rows = []
    for row in range(2 * len(values)):
        rows.append(
            tuple(
                values[row // 2][column // 2]
                if codes[row // 2][column // 2] == 2 * (row % 2) + column % 2
                else 0
                for column in range(2 * len(values[0]))
            )
        )
    return tuple(rows)


def draw() -> str:
    """Return the drawing as SVG."""
    values, codes = pool(SOURCE)
    corner = tuple(tuple(0 for _ in row) for row in codes)
    marks: list[str] = []
    x = 18
    for title, note, grid, size in (
        ("encoder", "a 4x4 plane", SOURCE, 4),
        ("max-pooling", "values", values, 2),
        ("", "indices: 2 bits each", tuple(tuple(CODES[c] for c in row) for row in codes), 2),
        ("decoder, exact", "every value back in place", unpool(values, codes), 4),
        ("indices lost", "every value in a corner", unpool(values, corner), 4),
    ):
        top = TOP + (4 - size) * CELL // 2
        marks += _grid(x, top, grid, size // 2, zeros="decoder" in title or "lost" in title)
        middle = x + size * CELL / 2
        marks.append(_text(middle, TOP - 40, title, "title"))
        marks.append(_text(middle, TOP + 4 * CELL + 26, note, "note"))
        x += size * CELL + GAP
        if x < 900 and title != "indices lost":
            sign = {"max-pooling": "+", "decoder, exact": "≠"}.get(title, "→")
            marks.append(_text(x - GAP / 2, TOP + 2 * CELL + 7, sign, "sign"))
    return _svg("Max-pooling and unpooling with and without indices", marks, x - GAP + 18)


def draw_lowered() -> str:
    """Return the lowered form as SVG: four channels, their masks, and the plane again."""
    values, codes = pool(SOURCE)
    marks: list[str] = []
    step = 2 * CELL + 18
    left, middle, right = 10, 10 + 4 * CELL + GAP, 10 + 4 * CELL + 2 * GAP + 4 * step
    marks += _grid(left, TOP, SOURCE, 2, zeros=False)
    for element, name in enumerate("abcd"):
        x = middle + element * step
        row, column = divmod(element, 2)
        channel = tuple(line[column::2] for line in SOURCE[row::2])
        mask = tuple(tuple(int(code == element) for code in line) for line in codes)
        marks += _grid(x, TOP - 8, channel, 1, zeros=False)
        marks += _grid(x, TOP + 2 * CELL + 22, mask, 1, zeros=True)
        marks.append(_text(x + CELL, TOP - 18, name, "title"))
    marks += _grid(right, TOP, unpool(values, codes), 2, zeros=True)
    between = middle + 2 * step - 9
    for x, y, text, css in (
        (left + 2 * CELL, TOP - 40, "a plane", "title"),
        (between, TOP - 50, "SpaceToDepth: four channels", "title"),
        (between, TOP + 2 * CELL + 12, "is it the first maximum?", "note"),
        (right + 2 * CELL, TOP - 40, "DepthToSpace", "title"),
        (left + 2 * CELL, TOP + 4 * CELL + 26, "4x4", "note"),
        (between, TOP + 4 * CELL + 42, "masks, in place of indices", "note"),
        (right + 2 * CELL, TOP + 4 * CELL + 26, "every value back in place", "note"),
        (middle - GAP / 2, TOP + 2 * CELL + 7, "→", "sign"),
        (right - GAP / 2 - 9, TOP + 2 * CELL + 7, "→", "sign"),
    ):
        marks.append(_text(x, y, text, css))
    return _svg("Pooling and unpooling with plain operators", marks, right + 4 * CELL + 24)


DRAWINGS = {"unpooling": draw, "lowered": draw_lowered}


def _svg(title: str, marks: list[str], width: float) -> str:
    height = TOP + 4 * CELL + 54
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{title}</title>"
        "<style>text{font:15px system-ui,sans-serif;fill:#1c2430;text-anchor:middle}"
        ".title{font-weight:600}.note{font-size:13px;fill:#5c6775}.sign{font-size:24px}"
        ".zero{fill:#a3acb8}rect{stroke:#8a94a3}</style>"
        f'<rect width="{width}" height="{height}" fill="#fff" style="stroke:none"/>'
        + "".join(marks)
        + "</svg>\n"
    )


def _grid(
    x: float, top: float, grid: tuple[tuple[int | str, ...], ...], window: int, zeros: bool
) -> list[str]:
    marks = []
    for i, row in enumerate(grid):
        for j, value in enumerate(row):
            colour = COLOURS[2 * (i // window) + j // window]
            pale = zeros and value == 0
            left, upper = x + j * CELL, top + i * CELL
            marks.append(
                f'<rect x="{left}" y="{upper}" width="{CELL}" height="{CELL}" '
                f'fill="{"#ffffff" if pale else colour}"/>'
            )
            css = "zero" if pale else ""
            marks.append(_text(left + CELL / 2, upper + CELL / 2 + 6, str(value), css))
    return marks


def _text(x: float, y: float, text: str, css: str) -> str:
    return f'<text class="{css}" x="{x}" y="{y}">{escape(text)}</text>'


if __name__ == "__main__":
    for name, drawing in DRAWINGS.items():
        target = Path(__file__).parents[1] / f"pictures/{name}.svg"
        target.write_text(drawing(), encoding="utf-8")
        print(target)
