"""The report as one HTML file: no script, no request; light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

from segnet_deploy.bench.paper import TABLE_6_CONDITIONS
from segnet_deploy.bench.report.figures import Figure
from segnet_deploy.bench.report.formatting import cautions, columns, facts, plain, ratio, tally
from segnet_deploy.bench.report.svg import chart_css

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(comparison: dict[str, Any], title: str, figures: Sequence[Figure]) -> str:
    """Return the whole page."""
    style = (resources.files(__package__) / "page.css").read_text(encoding="utf-8")
    verdicts = comparison.get("verdicts") or []
    machine = comparison.get("machine", {})
    where = [str(machine.get("processor", "")), str(comparison.get("started") or "")[:10]]
    body = [
        f"<header><h1>{escape(title)}</h1>",
        f"<p>{escape(' · '.join(part for part in where if part))}</p></header><main>",
        _verdicts(verdicts) if verdicts else "",
        _numbers(comparison, bool(verdicts)),
        '<section class="grid" aria-label="Plots">',
        *(_card(figure) for figure in figures),
        "</section>",
        _list("What to keep in mind", cautions(comparison)),
        _facts(comparison),
        "</main><footer>Made by segnet-deploy from the JSON file alone: "
        "<code>segnet-bench --report FILE.json -o DIR</code></footer>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{style}{chart_css()}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


def _card(figure: Figure) -> str:
    return (
        f'<figure class="card" id="{figure.name}"><h2>{escape(figure.title)}</h2>{figure.svg()}'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _verdicts(verdicts: Sequence[dict[str, Any]]) -> str:
    rows = "".join(
        f'<li class="{escape(str(row["verdict"]).replace(" ", "-"))}">'
        f'<p class="badge">{escape(str(row["verdict"]))}</p>'
        f"<div><h3>{escape(plain(row['claim']))}</h3>{_paragraph(row.get('figures'))}"
        f"{_paragraph(row.get('note'), 'note')}</div>{_ratios(row)}</li>"
        for row in verdicts
    )
    return (
        f'<section class="card"><h2>Claims of the paper: {escape(tally(verdicts))}</h2>'
        f'<ul class="verdicts">{rows}</ul></section>'
    )


def _ratios(row: dict[str, Any]) -> str:
    if row.get("ratio") is None and row.get("paper_ratio") is None:
        return ""
    pairs = (("here", row.get("ratio")), ("paper", row.get("paper_ratio")))
    cells = "".join(f"<dt>{name}</dt><dd>{escape(ratio(value))}</dd>" for name, value in pairs)
    return f'<dl class="ratios">{cells}</dl>'


def _paragraph(value: Any, kind: str = "") -> str:
    text = plain(value)
    return f'<p class="{kind}">{escape(text)}</p>' if text else ""


def _numbers(comparison: dict[str, Any], paper: bool) -> str:
    heads, rows = columns(comparison)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    note = f"<p>The paper's conditions: {escape(TABLE_6_CONDITIONS)}.</p>" if paper else ""
    return (
        '<section class="card"><h2>Figures</h2><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Table of figures"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}</section>"
    )


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section class="card"><h2>{title}</h2><ul class="plain">{items}</ul></section>'


def _facts(comparison: dict[str, Any]) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts(comparison)
    )
    head = "<h2>Machine and settings</h2>"
    return f'<section class="card">{head}<dl class="facts">{rows}</dl></section>'
