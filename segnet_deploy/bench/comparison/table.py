"""A comparison as text: the networks beside the paper's Table 6, and the verdicts."""

from __future__ import annotations

import textwrap
from typing import Any

from segnet_deploy.bench.comparison.claims import running_added
from segnet_deploy.bench.paper import TABLE_6, TABLE_6_CONDITIONS

Network = dict[str, Any]


def format_comparison(comparison: dict[str, Any]) -> str:
    """Return the table; milliseconds and MB appear only here."""
    settings, machine = comparison["settings"], comparison["machine"]
    lines = [
        f"{machine['processor']}, {machine['cpus']} CPUs, {machine['system']}; threads "
        f"{settings['threads'] or 'by the runtime'}, {settings['rounds']} rounds of "
        f"{settings['runs']}, frame {'x'.join(map(str, settings['size']))}",
        "",
        f"{'':26}{'forward ms':>11}{'spread':>8}{'ratio':>7}{'GMAC':>7}{'memory':>8}{'peak':>7}"
        f"{'model':>8}{'indices':>9}",
    ]
    done = [n for n in comparison["networks"] if n["seconds"]]
    base = next((n for n in done if n["paper"] == "SegNet"), done[0] if done else None)
    for network in done:
        assert base is not None
        lines.append(_row(network, base))
        lines += _paper_row(network, base)
    lines += [f"{n['name']}: {n['error']}" for n in comparison["networks"] if n["error"]]
    lines += [
        "",
        "memory: MB above the runtime's baseline while frames run; peak: the whole process, "
        "loading included; model, indices: MB in the file",
    ]
    if any(n["paper"] for n in done):
        lines.append(f"paper: Table 6, {TABLE_6_CONDITIONS}")
    lines += _backward(done)
    for network in done:
        lines += [
            f"warning: {network['name']}: {w['text']}: {w['advice']}" for w in network["warnings"]
        ]
    return "\n".join([*lines, *_verdicts(comparison["verdicts"])])


def _row(network: Network, base: Network) -> str:
    infer, reference = network["seconds"]["infer"], base["seconds"]["infer"]["median"]
    spread = infer["stdev"] / infer["median"]
    return (
        f"{network['name'][:25]:26}{infer['median'] * 1e3:11.1f}{spread:8.1%}"
        f"{infer['median'] / reference:7.2f}{_number(network.get('gmac'), 1):>7}"
        f"{_mb(running_added(network)):>8}{_mb(network.get('peak_bytes')):>7}"
        f"{_mb(network['model_bytes'], 1):>8}{_mb(network.get('index_bytes'), 1):>9}"
    )


def _paper_row(network: Network, base: Network) -> list[str]:
    rows = {row.network: row for row in TABLE_6}
    row, first = rows.get(network["paper"]), rows.get(base["paper"])
    if row is None:
        return []
    ratio = f"{row.forward / first.forward:7.2f}" if first else f"{'':7}"
    return [
        f"{'  paper':26}{row.forward * 1e3:11.1f}{'':8}{ratio}{'':7}"
        f"{_mb(row.inference_bytes):>8}{'':7}{_mb(row.model_bytes):>8}"
    ]


def _backward(networks: list[Network]) -> list[str]:
    rows = {row.network: row for row in TABLE_6}
    lines = []
    for network in networks:
        if not (cost := network.get("backward")):
            continue
        paper = rows.get(network["paper"])
        beside = (
            f" (paper {paper.backward * 1e3:.0f} ms, {_mb(paper.training_bytes)} MB)"
            if paper
            else ""
        )
        lines.append(
            f"{network['name'][:25]:26}backward {cost['seconds']['median'] * 1e3:.0f} ms, training "
            f"{_mb(cost['training_bytes'])} MB at batch {cost['batch']}{beside}"
        )
    return ["", *lines] if lines else []


def _verdicts(verdicts: list[dict[str, Any]]) -> list[str]:
    lines = []
    for verdict in verdicts:
        ratios = [
            f"{word} {verdict[key]:.2f}"
            for key, word in (("ratio", "ratio here"), ("paper_ratio", "the paper's"))
            if verdict[key] is not None
        ]
        lines += ["", f"{verdict['verdict'].upper()}: {verdict['claim']}"]
        said = [verdict["figures"] + (f" ({', '.join(ratios)})" if ratios else ""), verdict["note"]]
        for text in said:
            lines += textwrap.wrap(text, 96, initial_indent="  ", subsequent_indent="  ")
    return lines


def _mb(size: int | None, digits: int = 0) -> str:
    return "-" if size is None else f"{size / 1e6:.{digits}f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
