"""A report of a comparison: one HTML file, and Markdown with SVG files, from the result alone.

page, markdown   the two exporters
figures          the list of figures; *_chart(s): how each is drawn
figure, svg, axes  drawings
formatting       results as text
"""

from __future__ import annotations

import os
from pathlib import Path

from segnet_deploy.bench.result import Comparison, RunResult, read_result
from segnet_deploy.errors import InputError
from segnet_deploy.files import atomic_write, make_folder

FOLDER = "plots"


def report_file(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write the report of a JSON file of segnet-bench; return the files. Raises InputError."""
    result = read_result(path)
    comparison = result.as_comparison() if isinstance(result, RunResult) else result
    return write_report(comparison, folder)


def write_report(comparison: Comparison, folder: str | os.PathLike[str]) -> list[Path]:
    """Write report.html, and report.md with its plots/; return report.html and report.md.

    Raises InputError if no network was measured, or the folder cannot be written.
    """
    from segnet_deploy.bench.report.figures import NAMES, draw_figures
    from segnet_deploy.bench.report.markdown import format_markdown
    from segnet_deploy.bench.report.page import format_page

    target = Path(folder)
    if not comparison.measured:
        raise InputError("no network was measured, so there is no report; run the comparison again")
    make_folder(target / FOLDER)
    title, figures = _title(comparison), draw_figures(comparison)
    for name in NAMES:  # of an earlier report
        (target / FOLDER / f"{name}.svg").unlink(missing_ok=True)
    for figure in figures:
        atomic_write(target / FOLDER / f"{figure.name}.svg", figure.svg(standalone=True).encode())
    texts = {
        "report.html": format_page(comparison, title, figures),
        "report.md": format_markdown(comparison, title, figures, FOLDER),
    }
    for name, text in texts.items():
        atomic_write(target / name, text.encode())
    return [target / name for name in texts]


def _title(comparison: Comparison) -> str:
    if comparison.verdicts:
        return "The SegNet paper's inference claims, measured"
    names = [network.name for network in comparison.measured]
    return f"Measurement of {names[0] if len(names) == 1 else f'{len(names)} networks'}"
