"""The report as Markdown, with its figures as SVG files."""

from __future__ import annotations

from collections.abc import Sequence

from segnet_deploy.bench.paper import TABLE_6, TABLE_6_CONDITIONS
from segnet_deploy.bench.report.figure import Figure
from segnet_deploy.bench.report.formatting import (
    count_verdicts,
    format_bytes,
    format_ratio,
    format_seconds,
    list_conditions,
    list_notes,
    summary_table,
)
from segnet_deploy.bench.result import Comparison, Verdict


def format_markdown(
    comparison: Comparison, title: str, figures: Sequence[Figure], folder: str
) -> str:
    """Return the text; the figures are files in `folder`, relative to it."""
    verdicts = comparison.verdicts
    parts = [f"# {title}", ""]
    if verdicts:
        parts += [f"## Verdicts: {count_verdicts(verdicts)}", "", *_format_verdicts(verdicts)]
    heads, rows = summary_table(comparison)
    parts += ["## Figures", "", *_format_table(heads, rows)]
    if verdicts:
        parts += [f"The paper's Table 6 ({TABLE_6_CONDITIONS}):", "", *_format_paper()]
    for figure in figures:
        description = figure.description.replace("[", "(").replace("]", ")")
        parts += [f"## {figure.title}", "", figure.caption, ""]
        parts += [f"![{description}]({folder}/{figure.name}.svg)", ""]
    if notes := list_notes(comparison):
        parts += ["## Warnings and notes", "", *(f"- {note}" for note in notes), ""]
    conditions = [list(row) for row in list_conditions(comparison)]
    parts += ["## Machine and settings", "", *_format_table(["", ""], conditions)]
    return "\n".join(parts).rstrip() + "\n"


def _format_verdicts(verdicts: Sequence[Verdict]) -> list[str]:
    rows = [
        [
            verdict.claim,
            f"**{verdict.verdict}**",
            verdict.figures,
            format_ratio(verdict.ratio),
            format_ratio(verdict.paper_ratio),
            verdict.note,
        ]
        for verdict in verdicts
    ]
    return _format_table(["claim", "verdict", "figures", "ratio here", "paper", "note"], rows)


def _format_paper() -> list[str]:
    rows = [
        [
            row.network,
            format_seconds(row.forward),
            format_seconds(row.backward),
            format_bytes(row.inference_bytes),
            format_bytes(row.training_bytes),
            format_bytes(row.model_bytes),
        ]
        for row in TABLE_6
    ]
    return _format_table(["network", "forward", "backward", "inference", "training", "model"], rows)


def _format_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(heads), ["---"] * len(heads), *rows]
    text = [
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in line) + " |"
        for line in lines
    ]
    return [*text, ""]
