"""The figures of benchmarks/results as Markdown with plots: each file with its device and date.

A file of an unknown kind is shown too: its lists and dictionaries of rows become tables, and rows
with a median become a plot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segnet_deploy.bench.report.figures import draw_figures
from segnet_deploy.bench.report.formatting import format_bytes, format_seconds, format_value
from segnet_deploy.bench.report.svg import BOLD_WIDTH, WIDTH, Drawing, shorten
from segnet_deploy.bench.result import Comparison, read_result

GROUPS = {
    "speed": ("peers", "precision", "limits", "quantisers", "half", "tune"),
    "paper": ("paper",),
    "gpu": ("gpu", "kernel"),
    "archives": ("scale", "batch", "triton"),
    "uncertainty": ("uncertainty",),
}
"""Which files a page shows, by the first word of their names; `other` shows the rest."""
ROWS, COLUMNS = 24, 12  # of a table; with more columns, only those that every row has
Row = dict[str, Any]
_LEFT_OUT = {"machine", "versions", "benchmark", "what", "kind", "format", "device", "samples"}
_NAMES = {
    "amd": "on AMD",
    "nvidia": "on NVIDIA",
    "epyc": "EPYC",
    r"zen(\d)": r"Zen \1",
    r"([hal]\d+)": lambda found: str(found[1]).upper(),
    r"(\d+)cpu": r"with \1 cores",
    "gpu": "GPU",
}
"""Words of file names as a title writes them."""
_SPREAD = {"p90", "p95", "p99", "mean", "stdev", "min", "outliers"}  # of a median
_SHARES = re.compile(r"accuracy|average|iou|agreement|labels|share|occupancy")
_NO_SHARES = re.compile(r"change|seconds|drop")


def results_page(group: str, folder: Path) -> str:
    """Return the files of a group, the newest first; `list` is a table of all files."""
    files = sorted(folder.glob("*.json"), key=lambda path: (_date(path), path.name), reverse=True)
    if group == "list":
        return _list(files)
    chosen = [path for path in files if _group(path) == group]
    return "\n\n".join(result_part(path) for path in chosen) or "No file so far.\n"


def result_part(path: Path) -> str:
    """Return one file as Markdown: question, device and date, then plots and tables."""
    data = _read(path)
    parts = [f"## {_title(path)}", _conditions(path, data)]
    if data.get("kind") == "comparison":
        parts += _comparison(path)
    elif isinstance(data.get("parts"), dict):
        parts += _checked_parts(data["parts"])
    else:
        parts += list(_tables(data))
    return "\n\n".join(parts)


def _read(path: Path) -> Row:
    """Return a file's data; the GPU check has the device and versions under `machine`."""
    data: Row = json.loads(path.read_text())
    machine = data.get("machine") or {}
    return {**data, **machine} if "device" in machine else data


def plot_part(kind: str, name: str, folder: Path) -> str:
    """Return a plot of the newest file of `kind` with its device and date.

    `name` is a figure of the report for a comparison, else the key of the rows.
    """
    path = max(folder.glob(f"{kind}-*.json"), key=lambda path: (_date(path), path.name))
    data = json.loads(path.read_text())
    if data.get("kind") == "comparison":
        figures = {figure.name: figure.svg() for figure in draw_figures(read_result(path))}
        plot = _svg(figures[name])
    else:
        plot = _plot(name, _rows(data[name])) or ""
    where = f"{_device(data)}, {_date(path)}".lstrip(", ")
    return f"{plot}\n\n*{where}; [{path.name}](path:../../benchmarks/results/{path.name}).*"


def _group(path: Path) -> str:
    first = path.stem.split("-")[0]
    return next((group for group, words in GROUPS.items() if first in words), "other")


def _date(path: Path) -> str:
    found = re.search(r"\d{4}-\d\d-\d\d", path.stem)
    return found[0] if found else ""


def _title(path: Path) -> str:
    words = re.sub(r"-?\d{4}-\d\d-\d\d", "", path.stem).replace("-", " ")
    for pattern, name in _NAMES.items():
        words = re.sub(rf"\b{pattern}\b", name, words)
    return f"{words[:1].upper()}{words[1:]}, {_date(path)}"


def _link(path: Path) -> str:
    return f"[{path.name}](../../benchmarks/results/{path.name})"


def _device(data: Row) -> str:
    machine = data.get("machine") or {}
    named = data.get("gpu") or data.get("device") or ""
    if isinstance(named, dict):
        named = named.get("name", "")
    cpus = f"{machine['processor']}, {machine['cpus']} cores" if machine.get("cpus") else ""
    return "; ".join(text for text in (str(named) if named != "cpu" else "", cpus) if text)


def _conditions(path: Path, data: Row) -> str:
    what = str(data.get("what") or "").rstrip(".")
    versions = data.get("versions") or {}
    shown = ", ".join(f"{name} {versions[name]}" for name in versions)
    lines = [
        f"{what[:1].upper()}{what[1:]}." if what else "",
        f"Device: {_device(data)}." * bool(_device(data)),
    ]
    lines += [f"Versions: {shown}." if shown else "", f"File: {_link(path)}."]
    return " ".join(line for line in lines if line)


def _list(files: list[Path]) -> str:
    rows = ["| file | date | device |", "|---|---|---|"]
    for path in files:
        device = _device(_read(path)) or "a count, without a device"
        rows.append(f"| {_link(path)} | {_date(path)} | {device} |")
    return "\n".join(rows)


def _comparison(path: Path) -> list[str]:
    comparison = read_result(path)
    assert isinstance(comparison, Comparison)
    parts = []
    for figure in draw_figures(comparison):
        parts += [_svg(figure.svg()), f"*{figure.title}. {figure.caption}*"]
    rows = [
        {"claim of the paper": v.claim, "here": v.verdict, "figures": v.figures}
        for v in comparison.verdicts
    ]
    return [*parts, _table(rows)] if rows else parts


def _checked_parts(parts: dict[str, Row]) -> list[str]:
    """Return the parts of a GPU check: what each found, and whether its goals were met."""
    text = [
        _table([{"part": name, "status": part.get("status", "")} for name, part in parts.items()])
    ]
    for name, part in parts.items():
        goals = [
            {
                "goal": goal.get("goal"),
                "value": goal.get("value"),
                "at least": goal.get("at_least"),
                "met": {True: "yes", False: "no"}.get(goal.get("met"), "not judged"),
            }
            for goal in part.get("goals") or []
        ]
        tables = list(_tables({**(part.get("facts") or {}), **(part.get("tables") or {})}))
        if goals or tables:
            text += [f"### {name}", *([_table(goals)] if goals else []), *tables]
    return text


def _tables(data: Row) -> Iterator[str]:
    """Yield the facts of a file in one table, then a plot and a table for each set of rows."""
    facts = {
        key: value
        for key, value in data.items()
        if key not in _LEFT_OUT and not _is_rows(value) and value not in (None, {}, [], "")
    }
    if facts:
        texts = {_words(k): format_value(_value(k, v)) for k, v in facts.items()}
        if max(map(len, texts.values())) < 60:
            yield "Settings: " + ", ".join(f"{_cell(k)} {_cell(v)}" for k, v in texts.items()) + "."
        else:
            yield _table([{"": name, "value": text} for name, text in texts.items()])
    for key, value in data.items():
        if key in _LEFT_OUT or not _is_rows(value):
            continue
        rows = _rows(value)
        if key != "rows":
            yield f"**{_words(key)[:1].upper()}{_words(key)[1:]}**"
        plot = _plot(key, rows)
        if plot:
            yield plot
        yield _table(rows)


def _is_rows(value: Any) -> bool:
    items = list(value.values()) if isinstance(value, dict) else value
    return isinstance(items, list) and bool(items) and all(isinstance(i, dict) for i in items)


def _rows(value: Any) -> list[Row]:
    if isinstance(value, dict):
        return [{"": str(name), **_flat(row)} for name, row in value.items()]
    return [_flat(row) for row in value]


def _flat(row: Row, prefix: str = "") -> Row:
    """Return a row whose nested values have names with dots, without samples and spreads."""
    flat: Row = {}
    for key, value in row.items():
        if key == "samples" or (key in _SPREAD and "median" in row):
            continue
        name = prefix if key == "median" and prefix else f"{prefix} {key}".strip()
        if isinstance(value, dict):
            if len(value) <= 12:
                flat.update(_flat(value, name))
        elif not isinstance(value, list) or len(value) <= 6:
            flat[name] = value
    return flat


def _words(key: str) -> str:
    return key.replace("_", " ")


def _is_time(key: str) -> bool:
    return key.endswith(("seconds", "median")) and "per" not in key.split()


def _value(key: str, value: Any) -> Any:
    """Return a value with its unit, as far as its name tells one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if _is_time(key):
        return format_seconds(value)
    if key.endswith("bytes"):
        return format_bytes(value)
    if isinstance(value, float) and 0 <= value <= 1 and _is_share(key):
        return f"{100 * value:.2f} %"
    return value


def _is_share(key: str) -> bool:
    return bool(_SHARES.search(key)) and not _NO_SHARES.search(key)


def _table(rows: list[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) > COLUMNS:
        names = [name for name in names if all(name in row for row in rows)]
    lines = ["| " + " | ".join(map(_words, names)) + " |", "|" + "---|" * len(names)]
    for row in rows[:ROWS]:
        cells = [format_value(_value(name, row.get(name))) for name in names]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    text = "\n".join(lines)
    return text if len(rows) <= ROWS else f"{text}\n\nThe first {ROWS} of {len(rows)} rows."


def _cell(text: str) -> str:
    text = " ".join(str(text).split())
    return re.sub(r"([\\*_<>\[\]|`$#~])", r"\\\1", text if len(text) < 300 else text[:299] + "…")


def _plot(title: str, rows: list[Row]) -> str | None:
    """Return bars of the rows' times, if they have some."""
    key = next((k for k in (rows[0] if rows else {}) if _is_time(k)), None)
    times = [(row, row[key]) for row in rows if key and isinstance(row.get(key), int | float)]
    if key is None or len(times) < 2 or len(times) > ROWS:
        return None
    bars = [(_label(row, key), float(time), format_seconds(time)) for row, time in times]
    drawing = Drawing()
    longest = max(time for _, time, _ in bars) or 1.0
    scale = (WIDTH - 10 - BOLD_WIDTH * max(len(text) for *_, text in bars)) / longest
    for index, (label, time, text) in enumerate(bars):
        top = index * 42.0
        drawing.text(0, top + 14, shorten(label, 48), "name")
        drawing.rect(0, top + 20, scale * time, 15, "here")
        drawing.text(scale * time + 6, top + 32, text)
    drawing.height = len(bars) * 42.0
    described = "; ".join(f"{label}: {text}" for label, _, text in bars)
    return _svg(drawing.svg(f"{_words(title)}, {_words(key)}; shorter is faster", described))


def _label(row: Row, key: str) -> str:
    """Return what names a row: its texts before the plotted figure."""
    texts = [str(value) for name, value in row.items() if isinstance(value, str) and name != key]
    return ", ".join(texts[:2]) or "row"


def _svg(svg: str) -> str:
    return f'<figure class="plot">{svg}</figure>'
