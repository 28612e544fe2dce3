"""A search as text: one row per candidate, the fastest first."""

from __future__ import annotations

from segnet_deploy.bench.report.formatting import format_bytes, format_seconds
from segnet_deploy.system.machine import describe_cpus
from segnet_deploy.tuning.choice import drop, pareto_front, worst_class
from segnet_deploy.tuning.result import Candidate, TuneResult

COLUMNS = (
    *("candidate", "time", "95 % interval", "x fp32", "peak memory", "file", "mIoU", "change"),
    *("labels kept", "worst class", ""),
)


def format_result(result: TuneResult) -> str:
    """Return the table; * marks the Pareto front of time, memory and accuracy."""
    rows = [COLUMNS, *summary_rows(result)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [describe_search(result), ""]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    lines += ["", "*: no other candidate is better in time, memory and accuracy at once"]
    lines += result.notes
    return "\n".join(lines)


def describe_search(result: TuneResult) -> str:
    """Return machine, threads and frames in one line."""
    threads = result.settings.get("threads") or "by the runtime"
    kind = "labelled frames" if result.labelled else "frames without labels; accuracy not measured"
    return (
        f"{result.machine['processor']}, {describe_cpus(result.machine)}, threads {threads}; "
        f"{result.frames} {kind}; took {result.seconds / 60:.1f} min"
    )


def summary_rows(result: TuneResult) -> list[tuple[str, ...]]:
    """Return the cells of each candidate by COLUMNS, those that cannot run last."""
    reference = result.find(result.reference)
    front = {candidate.name for candidate in pareto_front(result.candidates)}
    measured = sorted((c for c in result.candidates if c.measured), key=lambda c: c.seconds)
    rows = []
    for candidate in measured:
        name = f"{candidate.name}{' *' if candidate.name in front else ''}"
        rows.append((name, *_cells(candidate, reference), _remark(candidate, result)))
    for candidate in result.candidates:
        if not candidate.measured:
            blank = ("-",) * (len(COLUMNS) - 2)
            rows.append((candidate.name, *blank, candidate.error or "not measured"))
    return rows


def _cells(candidate: Candidate, reference: Candidate | None) -> tuple[str, ...]:
    interval, agreement, mean_iou = candidate.interval, candidate.agreement, candidate.mean_iou
    lost = None if reference is None else drop(candidate, reference)
    worst = None if reference is None else worst_class(candidate, reference)
    return (
        format_seconds(candidate.seconds),
        "-" if interval is None else " - ".join(map(format_seconds, interval)),
        _ratio(candidate, reference),
        format_bytes(candidate.peak_bytes),
        format_bytes(candidate.model_bytes),
        "-" if mean_iou is None else f"{100 * mean_iou:.2f}",
        "-" if lost is None else f"{-100 * lost:+.2f}",
        "-" if agreement is None else f"{100 * agreement:.2f} %",
        "-" if worst is None else f"{worst[0]} {100 * worst[1]:+.2f}",
    )


def _ratio(candidate: Candidate, reference: Candidate | None) -> str:
    """Return how many times faster than fp32, of measurements from the same rounds."""
    if reference is None:
        return "-"
    seconds = reference.seconds if candidate.samples else min(reference.screened)
    return f"{seconds / candidate.seconds:.2f}"


def _remark(candidate: Candidate, result: TuneResult) -> str:
    if candidate.name == result.chosen:
        return "<- chosen"
    rounding = candidate.computed == "weight rounding only"
    parts = ("computed in fp32" if rounding else "", candidate.note)
    return "; ".join(part for part in parts if part)
