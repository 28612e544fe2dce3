"""The parity gate: check an exported file against the PyTorch model it came from.

The convolutions of two libraries differ in the last bits. That flips the index of a window whose
two largest values are nearly tied, and the decoder then moves a value by one pixel; after a dense
layer (DeconvNet's) one such index affects every label. The rule therefore has three parts: an
index may flip only in a nearly tied window, and few do; given the file's indices, PyTorch's
decoder computes the same outputs; and the labels of the file without exposed indices agree. An
output without labels keeps its values (`share_kept`) as far as the labels must agree.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from segnet_deploy.accuracy.agreement import arithmetic, default_limit
from segnet_deploy.accuracy.gate_inputs import GateInput
from segnet_deploy.errors import EngineError, ParityError
from segnet_deploy.progress import Progress, silent, track
from segnet_deploy.runtimes.loader import installed
from segnet_deploy.runtimes.loader import open as open_engine
from segnet_export.parity.compare import OpenedFile, compare, compare_reduced
from segnet_export.parity.report import GateReport, GateRow


def gate(
    path: str | os.PathLike[str],
    module: nn.Module,
    inputs: Sequence[GateInput],
    *,
    runtimes: Sequence[str] | None = None,
    min_agreement: float = 0.9999,
    progress: Progress = silent,
) -> GateReport:
    """Compare `path` with `module` on `inputs` in each of `runtimes` (None: all installed).

    An installed runtime that rejects the file is left out and reported; one that `runtimes` names
    raises EngineError. A plugin file runs in its lowered form. `min_agreement` is the share of
    labels, 0 to 1, that must agree given the same indices. Raises ParityError if a rule fails or
    if no runtime runs the file.
    """
    rows: list[GateRow] = []
    with tempfile.TemporaryDirectory() as folder:
        for runtime in runtimes or installed():
            try:
                file = OpenedFile.open(Path(path), runtime, Path(folder))
            except EngineError as error:
                if runtimes:
                    raise
                progress(f"left out: {error}")
                continue
            with contextlib.closing(file):
                for item in track(inputs, f"{runtime}: comparing with PyTorch", progress):
                    rows.append(compare(file, module, item, min_agreement))
    report = _report(path, rows)
    if not report.passed:
        progress(str(report))
        failed = report.failed[0]
        raise ParityError(
            f"{path} does not agree with PyTorch in {failed.runtime} on {failed.input}: "
            f"{'; '.join(failed.failures)}. No file was written; run again with --debug, or "
            "report this with the table above"
        )
    return report


def gate_reduced(
    path: str | os.PathLike[str],
    module: nn.Module,
    inputs: Sequence[GateInput],
    runtimes: Sequence[str] | None = None,
    min_agreement: float | None = None,
    progress: Progress = silent,
    *,
    precision: str,
) -> GateReport:
    """Compare labels and values on natural input: the rule for a reduced `precision`.

    Many CPUs compute such files in fp32 (Engine.computes_half), so that only the weights are
    rounded; the rows record this. A runtime that rejects the file is left out and reported. Raises
    ParityError if a runtime keeps less than `min_agreement`, as the mean over the images, or if no
    runtime runs the file. None is the default of what the runtime computes in.
    """
    rows: list[GateRow] = []
    natural = [item for item in inputs if item.name == "natural"]
    for runtime in runtimes or installed():
        try:
            engine = open_engine(path, runtime)
        except EngineError as error:
            progress(f"left out: {error}")
            continue
        with contextlib.closing(engine):
            computed = arithmetic(precision, engine.computes_half)
            found = [
                compare_reduced(runtime, engine, module, item, computed)
                for item in track(natural, f"{runtime}: comparing with PyTorch", progress)
            ]
            limit = default_limit(precision, engine.computes_half)
        limit = limit if min_agreement is None else min_agreement
        share, what = min(_shares_kept(found))
        if share < limit:
            raise ParityError(
                f"{path} keeps only {share:.2%} of {what} on {len(found)} inputs in {runtime} "
                f"({computed}, limit {limit:.2%}). No file was written; give --image with images "
                "of the model's own kind, or lower --min-agreement"
            )
        rows += found
    return _report(path, rows)


def _shares_kept(rows: Sequence[GateRow]) -> list[tuple[float, str]]:
    """Return what is kept of each output, as the mean over `rows`, with its name."""
    shares = [(float(np.mean([row.agreement for row in rows])), "the labels")]
    for outputs in zip(*(row.outputs for row in rows), strict=True):
        kept = float(np.mean([output.kept for output in outputs]))
        shares.append((kept, f"output '{outputs[0].name}'"))
    return shares


def _report(path: str | os.PathLike[str], rows: Sequence[GateRow]) -> GateReport:
    if not rows:
        raise ParityError(
            f"no installed runtime runs {path}, so it was not checked; no file was written"
        )
    return GateReport(tuple(rows))
