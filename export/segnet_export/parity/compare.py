"""Compare an exported file with its PyTorch model on one input, in one runtime.

`compare` applies the full rule of the parity gate: the file's indices, its logits given those
indices, and its labels. `compare_labels` compares labels only, for a reduced precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from segnet_deploy.accuracy.expose_indices import IndexedModel, write_indexed_model
from segnet_deploy.accuracy.gate_inputs import GateInput
from segnet_deploy.errors import ParityError
from segnet_deploy.runtimes.base import WINOGRAD, Engine
from segnet_deploy.runtimes.loader import open as open_engine
from segnet_deploy.types import Array
from segnet_export.parity.report import GateRow
from segnet_export.pool_recorder import PoolCall, run_recorded

GAP_LIMIT = 1e-5  # of the stage's largest magnitude: a nearly tied window
FLIP_LIMIT = 1e-3  # share of a stage's windows, on natural and random input
WINOGRAD_FLIP_LIMIT = 2e-2  # breaks ties at the edges of flat areas (docs/runtimes.md)
LOGIT_LIMIT = 1e-4  # of the largest logit


@dataclass(frozen=True)
class OpenedFile:
    """A file open in one runtime twice: as it is, and with its indices as further outputs."""

    runtime: str
    plain: Engine
    exposed: Engine
    indexed: IndexedModel

    @classmethod
    def open(cls, path: Path, runtime: str, folder: Path) -> OpenedFile:
        """Open `path`; `folder` receives the copy with exposed indices. Raises EngineError."""
        plain = open_engine(path, runtime)
        indexed, copy = write_indexed_model(path, plain.lowered, folder)
        return cls(runtime, plain, open_engine(copy, runtime), indexed)

    def close(self) -> None:
        """Release both engines."""
        self.plain.close()
        self.exposed.close()


@dataclass(frozen=True)
class StageFlips:
    """The windows of one stage whose index differs between the file and PyTorch.

    `gap` is the largest difference between the values at both indices, as a share of the largest
    magnitude in the stage.
    """

    count: int
    windows: int
    gap: float


@dataclass(frozen=True)
class _Results:
    """What both sides computed for one input.

    `expected` are PyTorch's logits, `given` its logits with the file's indices in its decoder,
    `logits` the file's: (N, K, H, W) float32. `labels`, (N, H, W) int64, come from the file as it
    is. `flips` has one entry per stage; `misplaced` lists the stages, from 1, with an index
    outside its window: then `given` equals `expected` and `flips` is empty.
    """

    expected: Tensor
    given: Tensor
    logits: Tensor
    labels: Tensor
    flips: tuple[StageFlips, ...]
    misplaced: tuple[int, ...]

    @property
    def logit_limit(self) -> float:
        return LOGIT_LIMIT * float(self.given.abs().max())

    @cached_property
    def delta_given(self) -> float:
        """The largest difference of a logit, given the same indices."""
        return _largest_difference(self.logits, self.given)

    @cached_property
    def agreement_given(self) -> float:
        """The share of equal labels, given the same indices."""
        return _agreement(self.labels, self.given, margin=2 * self.logit_limit)


def compare(file: OpenedFile, module: nn.Module, item: GateInput, min_agreement: float) -> GateRow:
    """Compare the file with `module`; the row lists the rules that fail.

    Raises ParityError if the file has another number of pool/unpool pairs than PyTorch uses.
    """
    results = _run_both(file, module, item)
    flip_limit = WINOGRAD_FLIP_LIMIT if file.runtime in WINOGRAD else FLIP_LIMIT
    failures = [
        *_check_indices(results, None if item.adversarial else flip_limit),
        *_check_logits(results),
        *_check_labels(results, min_agreement),
    ]
    return GateRow(
        file.runtime,
        item.name,
        tuple(item.feed.shape),
        _agreement(results.labels, results.expected),
        _largest_difference(results.logits, results.expected),
        results.delta_given,
        tuple(stage.count for stage in results.flips),
        tuple(stage.windows for stage in results.flips),
        max((stage.gap for stage in results.flips), default=0.0),
        tuple(failures),
    )


def compare_labels(
    runtime: str, engine: Engine, module: nn.Module, item: GateInput, computed: str
) -> GateRow:
    """Compare the labels of a file in reduced precision with those of `module`.

    `computed` names the arithmetic of the runtime.
    """
    with torch.no_grad():
        expected = module(torch.as_tensor(item.x))
    output = torch.from_numpy(np.array(engine.run(item.feed)))
    agreement = _agreement(_label_map(output), expected)
    return GateRow(
        runtime,
        computed,
        tuple(item.feed.shape),
        agreement,
        float((output.float() - expected).abs().max()) if output.dim() == 4 else np.nan,
        np.nan,
        flips=(),
        windows=(),
        largest_gap=0.0,
    )


def _run_both(file: OpenedFile, module: nn.Module, item: GateInput) -> _Results:
    """Run PyTorch, the file, and PyTorch again with the file's indices."""
    x = torch.as_tensor(item.x)
    expected, calls = run_recorded(module, x)
    used = [number for number, call in enumerate(calls) if call.unpooled]
    outputs = {name: np.array(value) for name, value in file.exposed.run_all(item.feed).items()}
    indices = _indices(file.indexed, outputs, calls, used)
    misplaced = tuple(
        stage
        for stage, number in enumerate(used, start=1)
        if not _in_windows(indices[number], calls[number])
    )
    given, given_calls = (expected, calls) if misplaced else run_recorded(module, x, indices)
    return _Results(
        expected,
        given,
        torch.from_numpy(outputs[file.indexed.logits]),
        _label_map(torch.from_numpy(np.array(file.plain.run(item.feed)))),
        () if misplaced else tuple(_flips(given_calls[number]) for number in used),
        misplaced,
    )


def _indices(
    indexed: IndexedModel, outputs: dict[str, Array], calls: list[PoolCall], used: list[int]
) -> dict[int, Tensor]:
    """Return the file's plane indices by the number of PyTorch's pool call."""
    if len(used) != len(indexed.stages):
        raise ParityError(
            f"PyTorch unpools {len(used)} pools but the file has {len(indexed.stages)} pairs"
        )
    indices = {}
    for stage, number in enumerate(used):
        height, width = calls[number].source.shape[2:]
        indices[number] = torch.from_numpy(indexed.plane_index(stage, outputs, (height, width)))
    return indices


def _check_indices(results: _Results, flip_limit: float | None) -> list[str]:
    """Rule 1: indices stay in their windows, and flip only between nearly tied values.

    `flip_limit` is the share of a stage's windows that may flip; None: any number.
    """
    failures = [f"stage {stage}: an index is outside its window" for stage in results.misplaced]
    if not np.isfinite(float(results.expected.abs().max())):
        failures.append("PyTorch's own output is not finite")
    for number, stage in enumerate(results.flips, start=1):
        if stage.gap > GAP_LIMIT:
            failures.append(
                f"stage {number}: an index differs although its values differ by {stage.gap:.1e} "
                f"of the stage's maximum (limit {GAP_LIMIT:.0e})"
            )
        if flip_limit is not None and stage.count > max(1, flip_limit * stage.windows):
            failures.append(f"stage {number}: {stage.count} of {stage.windows} indices differ")
    return failures


def _check_logits(results: _Results) -> list[str]:
    """Rule 2: given the file's indices, PyTorch's decoder computes the file's logits."""
    delta, limit = results.delta_given, results.logit_limit
    if delta <= limit:  # false for NaN
        return []
    return [f"with the same indices logits differ by {delta:.1e} (limit {limit:.1e})"]


def _check_labels(results: _Results, min_agreement: float) -> list[str]:
    """Rule 3: the file without exposed indices yields the same labels."""
    agreement = results.agreement_given
    if agreement >= min_agreement:
        return []
    return [
        f"with the same indices labels agree on {agreement:.4%} only (limit {min_agreement:.2%})"
    ]


def _label_map(output: Tensor) -> Tensor:
    """Return (N, H, W) labels from logits or from labels."""
    return output.argmax(1) if output.dim() == 4 else output.long()


def _largest_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.shape == b.shape else np.inf


def _agreement(labels: Tensor, logits: Tensor, margin: float = 0.0) -> float:
    """Return the share of labels that equal the argmax of `logits`.

    A pixel whose two largest logits differ by less than `margin` counts as equal.
    """
    expected = logits.argmax(1)
    if labels.shape != expected.shape:
        return 0.0
    top = logits.topk(2, 1).values
    undecided = top[:, 0] - top[:, 1] < margin
    return float(((labels == expected) | undecided).double().mean())


def _in_windows(index: Tensor, call: PoolCall) -> bool:
    """Return whether each index is in the plane and, for 2x2 pools, in its own window."""
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


def _flips(call: PoolCall) -> StageFlips:
    """Compare the indices that a pool computed with those that it returned."""
    differs = call.used_index != call.plane_index
    count = int(differs.sum())
    if not count:
        return StageFlips(0, differs.numel(), 0.0)
    flat = call.source.flatten(2)
    maximum = flat.gather(2, call.plane_index.flatten(2))
    chosen = flat.gather(2, call.used_index.flatten(2))
    gap = float((maximum - chosen).abs().max())
    scale = float(call.source.abs().max())
    return StageFlips(count, differs.numel(), gap / scale if scale else gap)
