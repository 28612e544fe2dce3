"""The parity gate: an exported file against the PyTorch model that it came from.

Convolutions of two libraries differ in their last bits, and that flips the index of a
window whose two largest values are nearly tied; the decoder then moves a value by a
pixel, and behind a dense layer (DeconvNet's) one such index reaches every label. So the
rule has three parts: a flipped index is allowed only in a near-tied window, and few are;
with the file's indices in PyTorch's decoder the logits agree; and so do the labels that
the file gives without the probe.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from segnet_deploy.accuracy.expose_indices import Probe, temporary_probe
from segnet_deploy.errors import EngineError, ParityError
from segnet_deploy.runtimes import Engine, installed, open_engine
from segnet_deploy.runtimes.names import WINOGRAD
from segnet_deploy.types import Array
from segnet_export.parity.report import GateReport, GateRow
from segnet_export.pool_recorder import PoolCall, run_recorded

GAP_LIMIT = 1e-5  # of the stage's largest magnitude: a nearly tied window
FLIP_LIMIT = 1e-3  # share of a stage's windows, on natural and random input
WINOGRAD_FLIP_LIMIT = 2e-2  # ties at the edges of flat areas come apart (docs/runtimes.md)
LOGIT_LIMIT = 1e-4  # of the largest logit


@dataclass(frozen=True)
class GateInput:
    """One input: `feed` goes to the file, `x` (N, C, H, W) float32 to PyTorch."""

    name: str
    feed: Array
    x: Tensor

    @property
    def ordinary(self) -> bool:
        """Whether the limit on the number of flips holds (not on made-up ties)."""
        return not self.name.startswith("adversarial")


def gate(
    path: str | os.PathLike[str],
    module: nn.Module,
    inputs: Sequence[GateInput],
    *,
    runtimes: Sequence[str] | None = None,
    min_agreement: float = 0.9999,
    progress: Callable[[str], None] = lambda _: None,
) -> GateReport:
    """Run `path` against `module` on `inputs` in each runtime (default: the installed ones).

    An installed one that refuses the file is left out; one of `runtimes` raises EngineError. A
    plugin file is run in its lowered form. Raises ParityError where a rule fails, or where none
    runs the file.
    """
    rows: list[GateRow] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for runtime in runtimes or installed():
            try:
                plain = open_engine(path, runtime)
                probe, target = temporary_probe(path, plain.lowered, folder)
                engine = open_engine(target, runtime)
            except EngineError as error:
                if runtimes:
                    raise
                progress(f"left out: {error}")
                continue
            for item in inputs:
                progress(f"{runtime}: {item.name} {'x'.join(map(str, item.feed.shape))}")
                rows.append(_compare(runtime, plain, engine, probe, module, item, min_agreement))
            plain.close()
            engine.close()
    if not rows:
        raise ParityError(f"no runtime here runs {path}, so it could not be checked; no file")
    report = GateReport(tuple(rows))
    if not report.passed:
        progress(str(report))
        row = next(row for row in rows if row.failures)
        raise ParityError(
            f"{path} does not agree with PyTorch in {row.runtime} on {row.input}: "
            f"{'; '.join(row.failures)}. No file was written; run with --debug, or report it "
            "with the table above"
        )
    return report


def gate_labels(
    path: str | os.PathLike[str],
    module: nn.Module,
    inputs: Sequence[GateInput],
    runtimes: Sequence[str] | None = None,
    min_agreement: float = 0.99,
    progress: Callable[[str], None] = lambda _: None,
) -> GateReport:
    """Compare labels only, on natural input: the rule for a reduced precision.

    On most CPUs such files are computed in fp32 (Engine.computes_half), which rounds the weights
    only; the rows say so.

    Raises ParityError where a runtime keeps too few labels, or where none runs the file.
    """
    rows: list[GateRow] = []
    natural = [item for item in inputs if item.name == "natural"]
    for runtime in runtimes or installed():
        try:
            engine = open_engine(path, runtime)
        except EngineError as error:
            progress(f"left out: {error}")
            continue
        for item in natural:
            progress(f"{runtime}: labels of {item.name} {'x'.join(map(str, item.feed.shape))}")
            rows.append(_compare_labels(runtime, engine, module, item, min_agreement))
        engine.close()
    if not rows:
        raise ParityError(f"no runtime here runs {path}, so it could not be checked; no file")
    if failed := [row for row in rows if row.failures]:
        raise ParityError(
            f"{path} keeps too few labels in {failed[0].runtime}: {failed[0].failures[0]}. No "
            "file was written; lower --min-agreement, or give --image of what the net was made for"
        )
    return GateReport(tuple(rows))


def _compare_labels(
    runtime: str, engine: Engine, module: nn.Module, item: GateInput, min_agreement: float
) -> GateRow:
    with torch.no_grad():
        expected = module(item.x)
    raw = torch.from_numpy(np.array(engine.run(item.feed)))
    labels = _label_map(raw)
    agreement = _agreement(labels, expected)
    delta = float((raw.float() - expected).abs().max()) if raw.dim() == 4 else np.nan
    failures = () if agreement >= min_agreement else (f"labels agree on {agreement:.3%} only",)
    shape = tuple(item.feed.shape)
    nothing: tuple[int, ...] = ()
    return GateRow(
        runtime,
        "natural, reduced" if engine.computes_half else "weight rounding only",
        shape,
        agreement,
        delta,
        np.nan,
        nothing,
        nothing,
        0.0,
        failures,
    )


def _compare(
    runtime: str,
    plain: Engine,
    engine: Engine,
    probe: Probe,
    module: nn.Module,
    item: GateInput,
    min_agreement: float,
) -> GateRow:
    free, calls = run_recorded(module, item.x)
    used = [number for number, call in enumerate(calls) if call.unpooled]
    if len(used) != len(probe.stages):
        raise ParityError(
            f"PyTorch unpools {len(used)} pools but the file has {len(probe.stages)} pairs"
        )
    outputs = {name: np.array(value) for name, value in engine.run_all(item.feed).items()}
    indices = {}
    for stage, number in enumerate(used):
        size = (calls[number].source.shape[2], calls[number].source.shape[3])
        indices[number] = torch.from_numpy(probe.plane_index(stage, outputs, size))
    broken = [
        f"stage {stage + 1}: an index lies outside its window"
        for stage, number in enumerate(used)
        if not _in_windows(indices[number], calls[number])
    ]
    if broken:
        given, given_calls = free, calls
    else:
        given, given_calls = run_recorded(module, item.x, indices)
    logits = torch.from_numpy(outputs[probe.logits])
    limit = LOGIT_LIMIT * float(given.abs().max())
    delta_given = float((logits - given).abs().max()) if logits.shape == given.shape else np.inf
    stages = [_flips(given_calls[number]) for number in used] if not broken else []
    labels = _label_map(torch.from_numpy(np.array(plain.run(item.feed))))
    agreement = _agreement(labels, free)
    same = _agreement(labels, given, clear=2 * limit)
    flip_limit = WINOGRAD_FLIP_LIMIT if runtime in WINOGRAD else FLIP_LIMIT
    failures = list(broken)
    if not np.isfinite(float(free.abs().max())):
        failures.append("PyTorch's own output is not finite")
    for stage, (count, windows, gap) in enumerate(stages, start=1):
        if gap > GAP_LIMIT:
            failures.append(
                f"stage {stage}: an index differs where the values differ by {gap:.1e} of the "
                f"stage's maximum (limit {GAP_LIMIT:.0e})"
            )
        if item.ordinary and count > max(1, flip_limit * windows):
            failures.append(f"stage {stage}: {count} of {windows} indices differ")
    if not delta_given <= limit:
        failures.append(f"with the same indices logits differ by {delta_given:.1e} ({limit:.1e})")
    if same < min_agreement:
        failures.append(
            f"with the same indices labels agree on {same:.4%} only (limit {min_agreement:.2%})"
        )
    return GateRow(
        runtime,
        item.name,
        tuple(item.feed.shape),
        agreement,
        float((logits - free).abs().max()) if logits.shape == free.shape else np.inf,
        delta_given,
        tuple(count for count, _, _ in stages),
        tuple(windows for _, windows, _ in stages),
        max((gap for _, _, gap in stages), default=0.0),
        tuple(failures),
    )


def _label_map(raw: Tensor) -> Tensor:
    """Return (N, H, W) labels from logits or from labels."""
    return raw.argmax(1) if raw.dim() == 4 else raw.long()


def _agreement(labels: Tensor, logits: Tensor, clear: float = 0.0) -> float:
    """Return the share of equal labels; those that lead by less than `clear` count as equal."""
    expected = logits.argmax(1)
    if labels.shape != expected.shape:
        return 0.0
    top = logits.topk(2, 1).values
    near = top[:, 0] - top[:, 1] < clear
    return float(((labels == expected) | near).double().mean())


def _in_windows(index: Tensor, call: PoolCall) -> bool:
    """Tell whether each index lies in the plane and, for 2x2 pools, in its own window."""
    if index.shape != call.plane_index.shape:
        return False
    height, width = call.source.shape[2:]
    row, column = index // width, index % width
    inside = (index >= 0) & (row < height)
    if index.shape[2] in (height // 2, (height + 1) // 2):
        rows = torch.arange(index.shape[2]).view(-1, 1)
        columns = torch.arange(index.shape[3])
        inside &= (row // 2 == rows) & (column // 2 == columns)
    return bool(inside.all())


def _flips(call: PoolCall) -> tuple[int, int, float]:
    """Return flipped indices, windows, and the largest gap relative to the stage's maximum."""
    differs = call.used_index != call.plane_index
    count = int(differs.sum())
    if not count:
        return 0, differs.numel(), 0.0
    flat = call.source.flatten(2)
    best = flat.gather(2, call.plane_index.flatten(2))
    chosen = flat.gather(2, call.used_index.flatten(2))
    gap = float((best - chosen).abs().max())
    scale = float(call.source.abs().max())
    return count, differs.numel(), gap / scale if scale else gap
