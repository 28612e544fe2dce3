"""The report as Markdown, its figures as SVG files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segnet_deploy.bench.paper import TABLE_6, TABLE_6_CONDITIONS
from segnet_deploy.bench.report.figures import Figure
from segnet_deploy.bench.report.formatting import (
    cautions,
    columns,
    facts,
    million,
    milliseconds,
    plain,
    ratio,
    tally,
)


def markdown(comparison: dict[str, Any], title: str, figures: Sequence[Figure], at: str) -> str:
    """Return the text; the figures lie in the folder `at` beside it."""
    heads, rows = columns(comparison)
    parts = [f"# {title}", ""]
    verdicts = comparison.get("verdicts") or []
    if verdicts:
        parts += [f"## Verdicts: {tally(verdicts)}", ""]
        parts += _table(
            ["claim", "verdict", "figures", "ratio here", "paper", "note"],
            [
                [
                    plain(row["claim"]),
                    f"**{row['verdict']}**",
                    plain(row.get("figures")),
                    ratio(row.get("ratio")),
                    ratio(row.get("paper_ratio")),
                    plain(row.get("note")),
                ]
                for row in verdicts
            ],
        )
    parts += ["## Figures", "", *_table(heads, rows)]
    if verdicts:
        parts += [f"The paper's Table 6 ({TABLE_6_CONDITIONS}):", "", *_paper()]
    for figure in figures:
        alt = figure.description.replace("[", "(").replace("]", ")")
        parts += [f"## {figure.title}", "", figure.caption, ""]
        parts += [f"![{alt}]({at}/{figure.name}.svg)", ""]
    if found := cautions(comparison):
        parts += ["## What to keep in mind", "", *(f"- {line}" for line in found), ""]
    parts += [
        "## Machine and settings",
        "",
        *_table(["", ""], [list(f) for f in facts(comparison)]),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _paper() -> list[str]:
    rows = [
        [
            row.network,
            milliseconds(row.forward),
            milliseconds(row.backward),
            million(row.inference_bytes),
            million(row.training_bytes),
            million(row.model_bytes),
        ]
        for row in TABLE_6
    ]
    return _table(["network", "forward", "backward", "inference", "training", "model"], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(heads), ["---"] * len(heads), *rows]
    text = [
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in line) + " |"
        for line in lines
    ]
    return [*text, ""]
