"""Figures with a bar for each network, and a thin grey one for the paper's Table 6."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from segnet_deploy.bench.paper import Table6Row, find_table_6_row
from segnet_deploy.bench.report.figure import Figure
from segnet_deploy.bench.report.formatting import format_bytes, format_seconds, network_labels
from segnet_deploy.bench.report.svg import BOLD_WIDTH, WIDTH, Drawing, shorten
from segnet_deploy.bench.result import Comparison, NetworkResult

BAR_HEIGHT, PAPER_HEIGHT, ROW_HEIGHT = 15.0, 9.0, 56.0  # px


class Bar(NamedTuple):
    """A bar's length, in any unit that the chart shares, and the text at its end."""

    length: float
    text: str


def find_row(network: NetworkResult) -> Table6Row | None:
    """Return the network's row of Table 6, or None."""
    return find_table_6_row(network.paper or network.name)


def draw_time(comparison: Comparison) -> Figure | None:
    """Draw median forward times, with ratios to SegNet if it is one of the networks."""
    networks = comparison.measured
    if not networks:
        return None
    rows = [find_row(network) for network in networks]
    candidates = rows if len(rows) > 1 else []  # a single network has no ratio
    segnet = next((i for i, row in enumerate(candidates) if row and row.network == "SegNet"), None)
    base = None if segnet is None else networks[segnet].median
    measured = []
    for network in networks:
        ratio = f" · {network.median / base:.2f}x" if base else ""
        measured.append(Bar(network.median, format_seconds(network.median) + ratio))
    paper = [_scaled_paper_bar(row, base) for row in rows]
    caption = "Median forward time; shorter is faster."
    if base:
        caption += " Grey: the paper's Table 6, scaled so that SegNet's two bars have one length."
    return _draw_bars("time", "Forward time", caption, network_labels(networks), measured, paper)


def draw_memory(comparison: Comparison) -> Figure | None:
    """Draw the peak memory of each process and its baseline."""
    networks = [network for network in comparison.measured if network.peak_bytes]
    if not networks:
        return None
    measured = []
    for network in networks:
        peak = network.peak_bytes or 0
        added = (
            "" if network.added_bytes is None else f", {format_bytes(network.added_bytes)} added"
        )
        measured.append(Bar(peak / 1e6, format_bytes(peak) + added))
    paper = [_paper_bar(network, "inference_bytes") for network in networks]
    caption = "Peak memory of the process; pale: its baseline before it loads the network."
    if any(paper):
        caption += " Grey: the paper's, by nvidia-smi, with the CUDA context."
    baselines = [(network.baseline_bytes or 0) / 1e6 for network in networks]
    labels = network_labels(networks)
    return _draw_bars("memory", "Inference memory", caption, labels, measured, paper, baselines)


def draw_model_size(comparison: Comparison) -> Figure | None:
    """Draw the sizes of the files."""
    networks = [network for network in comparison.measured if network.model_bytes]
    if not networks:
        return None
    sizes = [network.model_bytes or 0 for network in networks]
    measured = [Bar(size / 1e6, format_bytes(size)) for size in sizes]
    paper = [_paper_bar(network, "model_bytes") for network in networks]
    caption = "Size of the file." + (" Grey: the paper's Table 6." if any(paper) else "")
    return _draw_bars("size", "Model size", caption, network_labels(networks), measured, paper)


def _scaled_paper_bar(row: Table6Row | None, segnet_seconds: float | None) -> Bar | None:
    """Return the paper's time, scaled so that its SegNet takes `segnet_seconds`."""
    segnet = find_table_6_row("SegNet")
    if row is None or segnet is None or segnet_seconds is None:
        return None
    ratio = row.forward / segnet.forward
    return Bar(ratio * segnet_seconds, f"{format_seconds(row.forward)} · {ratio:.2f}x")


def _paper_bar(network: NetworkResult, column: str) -> Bar | None:
    row = find_row(network)
    if row is None:
        return None
    return Bar(getattr(row, column) / 1e6, format_bytes(getattr(row, column)))


def _draw_bars(
    name: str,
    title: str,
    caption: str,
    labels: Sequence[str],
    measured: Sequence[Bar],
    paper: Sequence[Bar | None],
    baselines: Sequence[float] | None = None,
) -> Figure:
    """Draw a bar for each label and a thin one for the paper; `baselines` are drawn pale."""
    drawing, descriptions = Drawing(), []
    bars = [*measured, *(bar for bar in paper if bar)]
    longest = max(bar.length for bar in bars) or 1.0
    scale = (WIDTH - 10 - BOLD_WIDTH * max(len(bar.text) for bar in bars)) / longest
    for index, (label, bar, paper_bar) in enumerate(zip(labels, measured, paper, strict=True)):
        top = index * ROW_HEIGHT
        drawing.text(0, top + 14, shorten(label, 48), "name")
        drawing.rect(0, top + 20, scale * bar.length, BAR_HEIGHT, "here")
        if baselines is not None and baselines[index]:
            baseline = min(baselines[index], bar.length)
            drawing.rect(0, top + 20, scale * baseline, BAR_HEIGHT, "here-soft")
        drawing.text(scale * bar.length + 6, top + 32, bar.text)
        description = f"{label}: {bar.text}"
        if paper_bar:
            drawing.rect(0, top + 37, scale * paper_bar.length, PAPER_HEIGHT, "paper")
            drawing.text(scale * paper_bar.length + 6, top + 46, paper_bar.text, "small")
            description += f" (paper: {paper_bar.text})"
        descriptions.append(description)
    drawing.height = len(measured) * ROW_HEIGHT
    entries = [("here", "this machine")] + ([("paper", "the paper")] if any(paper) else [])
    drawing.legend(entries)
    return Figure(name, title, caption, "; ".join(descriptions), drawing)
