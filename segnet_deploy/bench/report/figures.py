"""The figures of a comparison: each is one drawing, its caption and its description in words.

A figure function returns None where the data do not have what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from segnet_deploy.bench.paper import TABLE_6, Table6Row
from segnet_deploy.bench.report.axes import axis_log, axis_x, axis_y
from segnet_deploy.bench.report.formatting import million, milliseconds, network_labels
from segnet_deploy.bench.report.svg import BOLD, WIDTH, Drawing, series, shorten, ticks

NAMES = ("time", "memory", "size", "latency", "memory-time", "layers", "roofline")
Bar = tuple[float, str]  # its length and what stands at its end
BAR, THIN, ROW = 15.0, 9.0, 56.0
OPERATORS = 6


@dataclass(frozen=True)
class Figure:
    """A drawing with its words; `name` is its file name without suffix."""

    name: str
    title: str
    caption: str
    description: str
    drawing: Drawing

    def svg(self, standalone: bool = False) -> str:
        """Return the SVG element."""
        return self.drawing.svg(self.title, self.description, standalone)


def figures(comparison: dict[str, Any]) -> list[Figure]:
    """Return every figure that the data can fill."""
    made = (figure(comparison) for figure in FIGURES)
    return [figure for figure in made if figure is not None]


def paper_row(network: dict[str, Any]) -> Table6Row | None:
    """Return the network's row of Table 6, or None."""
    name = str(network.get("paper") or network["name"]).lower()
    return next((row for row in TABLE_6 if row.network.lower() == name), None)


def forward_time(comparison: dict[str, Any]) -> Figure | None:
    """Median forward times, as ratios to SegNet where it is there, beside the paper's."""
    networks = comparison["networks"]
    values = [network["seconds"]["infer"]["median"] for network in networks]
    rows = [paper_row(network) for network in networks]
    several = rows if len(rows) > 1 else []  # one network has no ratio
    own = next((i for i, row in enumerate(several) if row and row.network == "SegNet"), None)
    scale = None if own is None else values[own]
    ours = [(v, milliseconds(v) + (f" · {v / scale:.2f}x" if scale else "")) for v in values]
    theirs: list[Bar | None] = [None] * len(rows)
    if scale is not None:
        base = TABLE_6[0].forward
        theirs = [
            (row.forward * scale / base, f"{milliseconds(row.forward)} · {row.forward / base:.2f}x")
            if row
            else None
            for row in rows
        ]
    caption = "Median forward time; shorter is faster."
    if own is not None:
        caption += " Grey: the paper's Table 6, drawn so that SegNet's two bars are equally long."
    labels = network_labels(networks)
    return _bars("time", "Forward time", caption, labels, ours, theirs)


def memory(comparison: dict[str, Any]) -> Figure | None:
    """Peak memory of the process, with its baseline apart, beside the paper's."""
    networks = [n for n in comparison["networks"] if n.get("peak_bytes")]
    if not networks:
        return None
    ours = []
    for n in networks:
        added = f", {million(n['added_bytes'])} added" if n.get("added_bytes") is not None else ""
        ours.append((n["peak_bytes"] / 1e6, million(n["peak_bytes"]) + added))
    theirs = [_paper_bar(n, "inference_bytes") for n in networks]
    caption = "Peak memory of the process; pale: that of the runtime before it loads the network."
    if any(theirs):
        caption += " Grey: the paper's, by nvidia-smi, with the CUDA context."
    soft = [(n.get("baseline_bytes") or 0) / 1e6 for n in networks]
    labels = network_labels(networks)
    return _bars("memory", "Inference memory", caption, labels, ours, theirs, soft)


def model_size(comparison: dict[str, Any]) -> Figure | None:
    """Size of the files beside the paper's."""
    networks = [n for n in comparison["networks"] if n.get("model_bytes")]
    if not networks:
        return None
    ours = [(n["model_bytes"] / 1e6, million(n["model_bytes"])) for n in networks]
    theirs = [_paper_bar(n, "model_bytes") for n in networks]
    caption = "Size of the file." + (" Grey: the paper's Table 6." if any(theirs) else "")
    return _bars("size", "Model size", caption, network_labels(networks), ours, theirs)


def latency(comparison: dict[str, Any]) -> Figure | None:
    """Every sample as a dot, by its distance from its network's median."""
    networks = [n for n in comparison["networks"] if n.get("samples", {}).get("infer")]
    if not networks:
        return None
    away = [_deviations(network) for network in networks]
    low = min(-1.0, min(map(min, away)))
    high = max(1.0, max(map(max, away)))
    drawing, row = Drawing(), 50.0
    bottom = len(networks) * row + 4

    def x(percent: float) -> float:
        return 8 + (percent - low) / (high - low) * (WIDTH - 16)

    for tick in ticks(low, high):
        drawing.line(x(tick), 0, x(tick), bottom, "axis" if tick == 0 else "grid")
        drawing.tick(x(tick), bottom + 15, f"{tick:+g} %" if tick else "median")
    said = []
    for place, (network, values) in enumerate(zip(networks, away, strict=True)):
        top, stats = place * row, network["seconds"]["infer"]
        words = f"{milliseconds(stats['median'])}"
        if "low" in stats:
            ends = [100 * (stats[end] / stats["median"] - 1) for end in ("low", "high")]
            drawing.rect(x(ends[0]), top + 21, x(ends[1]) - x(ends[0]), 24, "band")
            words += f" ({ends[0]:+.1f} to {ends[1]:+.1f} %)"
        for index, value in enumerate(values):  # the golden ratio spreads neighbours evenly
            drawing.dot(x(value), top + 24 + 18 * (index * 0.618 % 1), 2.6, "sample")
        name = network_labels(networks)[place]
        drawing.text(0, top + 14, shorten(name, 27), "name")
        drawing.text(WIDTH, top + 14, words, "small", "end")
        said.append(f"{name}: median {words}")
    drawing.height = bottom + 22
    caption = (
        "Each dot is one measured run, by its distance from the median of its network; the band "
        "is the 95 % confidence interval of that median."
    )
    return Figure("latency", "Latency distribution", caption, "; ".join(said), drawing)


def memory_over_time(comparison: dict[str, Any]) -> Figure | None:
    """Resident memory of each process since it began."""
    networks = [n for n in comparison["networks"] if n.get("memory_timeline")]
    if not networks:
        return None
    lines = [[(t, size / 1e6) for t, size in n["memory_timeline"]] for n in networks]
    drawing = Drawing()
    to_x = axis_x(drawing, max(t for line in lines for t, _ in line), "s")
    to_y = axis_y(drawing, max(m for line in lines for _, m in line), "MB")
    for place, line in enumerate(lines):
        drawing.curve([(to_x(t), to_y(m)) for t, m in line], series(place))
    labels = network_labels(networks)
    drawing.legend([(series(place), label) for place, label in enumerate(labels)])
    said = (f"{b}: up to {max(m for _, m in a):.0f} MB" for a, b in zip(lines, labels, strict=True))
    caption = "Resident memory of each network's process while it loads and warms up."
    return Figure("memory-time", "Memory over time", caption, "; ".join(said), drawing)


def layer_times(comparison: dict[str, Any]) -> Figure | None:
    """Every layer of every network as a bar, in the order of execution."""
    networks = [n for n in comparison["networks"] if n.get("layers")]
    if not networks:
        return None
    sums: dict[str, float] = {}
    for network in networks:
        for layer in network["layers"]:
            sums[layer["op"]] = sums.get(layer["op"], 0.0) + layer["seconds"]
    kinds = {op: series(i) for i, op in enumerate(sorted(sums, key=lambda o: -sums[o])[:OPERATORS])}
    drawing, row, said = Drawing(), 92.0, []
    for place, network in enumerate(networks):
        top, layers = place * row, network["layers"]
        most = max(layer["seconds"] for layer in layers) or 1.0
        slowest = max(layers, key=lambda layer: layer["seconds"])
        total = sum(layer["seconds"] for layer in layers)
        name = network_labels(networks)[place]
        drawing.text(0, top + 14, shorten(name, 24), "name")
        words = f"{len(layers)} layers, {milliseconds(total)}"
        drawing.text(WIDTH, top + 14, words, "small", "end")
        step = WIDTH / len(layers)
        for index, layer in enumerate(layers):
            height = 58 * layer["seconds"] / most
            kind = kinds.get(layer["op"], series(7))
            drawing.rect(index * step, top + 82 - height, max(step * 0.8, 0.5), height, kind)
        drawing.line(0, top + 82, WIDTH, top + 82, "axis")
        said.append(f"{name}: slowest {slowest['op']} {slowest['name']}, {milliseconds(most)}")
    drawing.height = len(networks) * row
    entries = [(kind, op) for op, kind in kinds.items()]
    drawing.legend(entries + ([(series(7), "other")] if len(sums) > len(kinds) else []))
    caption = (
        "A bar for each layer as the runtime runs it, in order of execution. The times are of "
        "profiled runs, which are slower than the others."
    )
    return Figure("layers", "Time per layer", caption, "; ".join(said), drawing)


def roofline(comparison: dict[str, Any]) -> Figure | None:
    """GMAC/s over MAC/byte, under what this machine reaches."""
    roof = comparison.get("settings", {}).get("ceilings")
    networks = [n for n in comparison["networks"] if n.get("gmac") and n.get("traffic_bytes")]
    if not networks or not roof:
        return None
    peak, band = roof["macs_per_second"] / 1e9, roof["bytes_per_second"] / 1e9
    points = [
        (n["gmac"] * 1e9 / n["traffic_bytes"], n["gmac"] / n["seconds"]["infer"]["median"])
        for n in networks
    ]
    drawing = Drawing()
    wide = [x for x, _ in points] + [peak / band]
    tall = [y for _, y in points] + [peak]
    to_x = axis_log(drawing, min(wide) / 3, max(wide) * 3, "MAC per byte", False)
    to_y = axis_log(drawing, min(tall) / 3, max(tall) * 2, "GMAC/s", True)
    low, high = max(min(wide) / 3, min(tall) / 3 / band), max(wide) * 3
    corner = peak / band
    drawing.curve([(to_x(x), to_y(min(peak, band * x))) for x in (low, corner, high)], "roof")
    drawing.text(to_x(high), to_y(peak) - 6, f"{peak:.0f} GMAC/s", "small", "end")
    for place, (x, y) in enumerate(points):
        drawing.dot(to_x(x), to_y(y), 6, series(place))
    labels = network_labels(networks)
    said = [
        f"{label}: {y / min(peak, band * x):.0%} of its ceiling"
        for label, (x, y) in zip(labels, points, strict=True)
    ]
    drawing.legend([(series(i), text) for i, text in enumerate(said)])
    caption = (
        f"GMAC/s over MAC per byte that the convolutions move. The roof: {peak:.0f} GMAC/s in "
        f"numpy's matrix product and {band:.0f} GB/s in its copy, measured here. A convolution "
        "by Winograd's method does fewer multiplications than it is counted for."
    )
    return Figure("roofline", "Roofline", caption, "; ".join(said), drawing)


FIGURES: tuple[Callable[[dict[str, Any]], Figure | None], ...] = (
    forward_time,
    memory,
    model_size,
    latency,
    memory_over_time,
    layer_times,
    roofline,
)


def _bars(
    name: str,
    title: str,
    caption: str,
    labels: Sequence[str],
    ours: Sequence[Bar],
    theirs: Sequence[Bar | None],
    soft: Sequence[float] | None = None,
) -> Figure:
    """Draw a bar for us and a thin one for the paper; `soft` is the pale first part of ours."""
    drawing, said = Drawing(), []
    most = max([value for value, _ in ours] + [pair[0] for pair in theirs if pair]) or 1.0
    room = WIDTH - 10 - BOLD * max(len(pair[1]) for pair in (*ours, *theirs) if pair)
    for place, (label, (value, text)) in enumerate(zip(labels, ours, strict=True)):
        top = place * ROW
        drawing.text(0, top + 14, shorten(label, 48), "name")
        drawing.rect(0, top + 20, room * value / most, BAR, "here")
        if soft is not None and soft[place]:
            drawing.rect(0, top + 20, room * min(soft[place], value) / most, BAR, "here-soft")
        drawing.text(room * value / most + 6, top + 32, text)
        said.append(f"{label}: {text}")
        if pair := theirs[place]:
            drawing.rect(0, top + 37, room * pair[0] / most, THIN, "paper")
            drawing.text(room * pair[0] / most + 6, top + 46, pair[1], "small")
            said[-1] += f" (paper: {pair[1]})"
    drawing.height = len(ours) * ROW
    entries = [("here", "this machine")] + ([("paper", "the paper")] if any(theirs) else [])
    drawing.legend(entries)
    return Figure(name, title, caption, "; ".join(said), drawing)


def _paper_bar(network: dict[str, Any], figure: str) -> Bar | None:
    row = paper_row(network)
    return None if row is None else (getattr(row, figure) / 1e6, million(getattr(row, figure)))


def _deviations(network: dict[str, Any]) -> list[float]:
    median = network["seconds"]["infer"]["median"]
    return [100 * (sample / median - 1) for sample in network["samples"]["infer"]]
