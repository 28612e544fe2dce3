"""A comparison as text: the networks next to the paper's Table 6, and the verdicts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from segnet_deploy.bench.paper import TABLE_6_CONDITIONS, find_table_6_row
from segnet_deploy.bench.result import Comparison, NetworkResult, Verdict
from segnet_deploy.system.machine import describe_cpus

LEGEND = (
    "memory: MB above the runtime's baseline while frames run; peak: the whole process, "
    "loading included; model, indices: MB in the file"
)


def format_comparison(comparison: Comparison) -> str:
    """Return the table; milliseconds and MB appear only here."""
    networks = comparison.measured
    lines = [
        *_format_conditions(comparison),
        "",
        f"{'':26}{'forward ms':>11}{'spread':>8}{'ratio':>7}{'GMAC':>7}{'memory':>8}{'peak':>7}"
        f"{'model':>8}{'indices':>9}",
    ]
    reference = next(
        (n for n in networks if n.paper == "SegNet"), networks[0] if networks else None
    )
    for network in networks:
        assert reference is not None
        lines += [_format_network(network, reference), *_format_paper(network, reference)]
    lines += [f"{n.name}: {n.error}" for n in comparison.networks if n.error]
    lines += ["", LEGEND]
    if any(network.paper for network in networks):
        lines.append(f"paper: Table 6, {TABLE_6_CONDITIONS}")
    lines += _format_training(networks)
    lines += [f"warning: {n.name}: {warning}" for n in networks for warning in n.warnings]
    return "\n".join([*lines, *_format_verdicts(comparison.verdicts)])


def _format_conditions(comparison: Comparison) -> list[str]:
    settings, machine = comparison.settings, comparison.machine
    return [
        f"{machine['processor']}, {describe_cpus(machine)}, {machine['system']}; threads "
        f"{settings['threads'] or 'by the runtime'}, {settings['rounds']} rounds of "
        f"{settings['runs']}, frame {'x'.join(map(str, settings['size']))}"
    ]


def _format_network(network: NetworkResult, reference: NetworkResult) -> str:
    spread = network.seconds["infer"]["stdev"] / network.median
    gmac = "-" if network.gmac is None else f"{network.gmac:.1f}"
    return (
        f"{network.name[:25]:26}{network.median * 1e3:11.1f}{spread:8.1%}"
        f"{network.median / reference.median:7.2f}{gmac:>7}"
        f"{_mb(network.running_added_bytes):>8}{_mb(network.peak_bytes):>7}"
        f"{_mb(network.model_bytes, 1):>8}{_mb(network.index_bytes, 1):>9}"
    )


def _format_paper(network: NetworkResult, reference: NetworkResult) -> list[str]:
    row, first = find_table_6_row(network.paper), find_table_6_row(reference.paper)
    if row is None:
        return []
    ratio = f"{row.forward / first.forward:7.2f}" if first else f"{'':7}"
    return [
        f"{'  paper':26}{row.forward * 1e3:11.1f}{'':8}{ratio}{'':7}"
        f"{_mb(row.inference_bytes):>8}{'':7}{_mb(row.model_bytes):>8}"
    ]


def _format_training(networks: Sequence[NetworkResult]) -> list[str]:
    """Return a line for each network whose backward pass benchmarks/paper.py measured."""
    lines = []
    for network in networks:
        if not (training := network.backward):
            continue
        row = find_table_6_row(network.paper)
        paper = f" (paper {row.backward * 1e3:.0f} ms, {_mb(row.training_bytes)} MB)" if row else ""
        lines.append(
            f"{network.name[:25]:26}backward {training['seconds']['median'] * 1e3:.0f} ms, "
            f"training {_mb(training['training_bytes'])} MB at batch {training['batch']}{paper}"
        )
    return ["", *lines] if lines else []


def _format_verdicts(verdicts: Sequence[Verdict]) -> list[str]:
    lines = []
    for verdict in verdicts:
        named = (("ratio here", verdict.ratio), ("the paper's", verdict.paper_ratio))
        ratios = [f"{name} {value:.2f}" for name, value in named if value is not None]
        figures = verdict.figures + (f" ({', '.join(ratios)})" if ratios else "")
        lines += ["", f"{verdict.verdict.upper()}: {verdict.claim}"]
        for text in (figures, verdict.note):
            lines += textwrap.wrap(text, 96, initial_indent="  ", subsequent_indent="  ")
    return lines


def _mb(size: int | None, digits: int = 0) -> str:
    return "-" if size is None else f"{size / 1e6:.{digits}f}"
