"""A search as one HTML page: the choice, the plot of time against accuracy, the table."""

from __future__ import annotations

from html import escape

from segnet_deploy.bench.report.axes import draw_log_axis, draw_y_axis
from segnet_deploy.bench.report.figure import Figure
from segnet_deploy.bench.report.formatting import format_seconds
from segnet_deploy.bench.report.page import format_document, format_figure, format_table
from segnet_deploy.bench.report.svg import Drawing, series_class
from segnet_deploy.tuning.choice import pareto_front
from segnet_deploy.tuning.result import Candidate, TuneResult
from segnet_deploy.tuning.table import COLUMNS, describe_search, summary_rows


def format_page(result: TuneResult) -> str:
    """Return the whole page."""
    chosen = result.find(result.chosen)
    assert chosen is not None
    text = (
        f"{result.file}: {chosen.name}, {format_seconds(chosen.seconds)} per frame. "
        "load(..., runtime=&quot;auto&quot;) uses this runtime on machines of this kind."
    )
    accuracy = "" if result.labelled else "<p>Accuracy was not measured: no labelled frames.</p>"
    body = [
        f'<section class="card"><h2>The choice</h2><p>{text}</p>{accuracy}</section>',
        f'<section class="grid" aria-label="Plots">{format_figure(draw_front(result))}</section>',
        format_table(COLUMNS, summary_rows(result)),
    ]
    title = "The fastest file for this device"
    return format_document(title, describe_search(result), body, "segnet-tune")


def draw_front(result: TuneResult) -> Figure:
    """Draw labels changed over time; the Pareto front is a line, the choice a large dot."""
    judged = [c for c in result.candidates if c.measured and c.judged]
    seconds = [1e3 * candidate.seconds for candidate in judged]
    drawing = Drawing()
    to_x = draw_log_axis(drawing, min(seconds) / 1.5, max(seconds) * 1.5, "ms", vertical=False)
    to_y = draw_y_axis(drawing, max(0.1, *map(_changed, judged)), "% of labels changed")
    front = sorted(pareto_front(judged), key=lambda candidate: candidate.seconds)
    drawing.curve([(to_x(1e3 * c.seconds), to_y(_changed(c))) for c in front], "roof")
    for index, candidate in enumerate(judged):
        radius = 8 if candidate.name == result.chosen else 5
        x, y = to_x(1e3 * candidate.seconds), to_y(_changed(candidate))
        drawing.dot(x, y, radius, series_class(index))
    texts = [f"{c.name}: {format_seconds(c.seconds)}" for c in judged]
    drawing.legend([(series_class(index), text) for index, text in enumerate(texts)])
    caption = (
        "Labels that differ from fp32 over the time per frame; the large dot is the choice, the "
        "line joins candidates that no other beats in time, memory and accuracy at once."
    )
    return Figure("front", "Time and accuracy", caption, escape("; ".join(texts)), drawing)


def _changed(candidate: Candidate) -> float:
    return 100 * (1 - (candidate.agreement or 0.0))
