"""Compare an exported file with its PyTorch model on one input, in one runtime.

`compare` applies the full rule of the parity gate: the file's indices, its outputs given those
indices, and its labels. `compare_reduced` compares labels and values only, for a reduced precision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from segnet_deploy.accuracy.agreement import share_kept
from segnet_deploy.accuracy.expose_indices import IndexedModel, write_indexed_model
from segnet_deploy.accuracy.gate_inputs import GateInput
from segnet_deploy.errors import ParityError
from segnet_deploy.passes.sampling_names import SAMPLES
from segnet_deploy.runtimes.base import WINOGRAD, Engine
from segnet_deploy.runtimes.loader import open as open_engine
from segnet_export.parity.report import GateRow, OutputDelta
from segnet_export.parity.rounding import largest_difference, run_in_double
from segnet_export.parity.sampling import SampledModule, sample_statistics
from segnet_export.parity.stages import StageFlips, Stages
from segnet_export.pool_recorder import PoolCall, run_recorded

GAP_LIMIT = 1e-5  # of the stage's largest magnitude: a nearly tied window
FLIP_LIMIT = 1e-3  # share of a stage's windows, on natural and random input
WINOGRAD_FLIP_LIMIT = 2e-2  # breaks ties at the edges of flat areas (docs/reference/runtimes.md)
LOGIT_LIMIT = 1e-4  # of the largest logit, or value of another output
ROUNDING_LIMIT = 10  # times PyTorch's own rounding, where that is larger (rounding.py)
OUTLIER_LIMIT = 1e-3  # share of the values beyond the limit, where PyTorch itself rounds badly
KEPT_LIMIT = 0.9999  # of the values as a whole (share_kept), in the same case


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
class _Output:
    """What both sides computed of one output, float32.

    `expected` are PyTorch's values, `given` those with the file's indices in its decoder, `found`
    the file's; `plain` comes from the file as it is, without exposed indices: labels (N, H, W)
    int64 of the label output. `exact` is `given` in float64, computed only if `found` differs.
    """

    name: str
    expected: Tensor
    given: Tensor
    found: Tensor
    plain: Tensor
    exact: Tensor | None = None

    @property
    def rounding(self) -> float:
        """The largest error of PyTorch's own values, or 0 if it was not measured."""
        return 0.0 if self.exact is None else largest_difference(self.given, self.exact)

    @property
    def limit(self) -> float:
        """The largest difference that rounding explains."""
        return max(LOGIT_LIMIT * float(self.given.abs().max()), ROUNDING_LIMIT * self.rounding)

    @property
    def delta_given(self) -> float:
        """The largest difference of a value, given the same indices."""
        return largest_difference(self.found, self.given if self.exact is None else self.exact)

    @property
    def agrees(self) -> bool:
        """Whether the values differ by no more than rounding explains."""
        if self.exact is None or not np.isfinite(self.delta_given):
            return self.delta_given <= self.limit  # false for NaN
        outliers = float(((self.found - self.exact).abs() > self.limit).double().mean())
        rounds_badly = ROUNDING_LIMIT * self.rounding > LOGIT_LIMIT * float(self.given.abs().max())
        kept = share_kept(self.found.numpy(), self.exact.numpy())
        return kept >= KEPT_LIMIT and outliers <= (OUTLIER_LIMIT if rounds_badly else 0)

    @property
    def kept(self) -> float:
        """How much of the values the file as it is keeps, given the same indices."""
        return share_kept(self.plain.numpy(), self.given.numpy())


@dataclass(frozen=True)
class _Results:
    """What both sides computed for one input: the label output first.

    `module` is what PyTorch ran, with the masks of this input if it samples. `flips` has one entry
    per stage, of PyTorch's `calls` with the indices of `stages`. If an index is outside its window,
    `given` of each output equals `expected` and `flips` is empty.
    """

    module: nn.Module
    outputs: tuple[_Output, ...]
    stages: Stages
    calls: list[PoolCall]
    flips: tuple[StageFlips, ...]

    @property
    def agrees(self) -> bool:
        """Whether every difference is within the limits."""
        return all(o.agrees for o in self.outputs) and not any(map(_gap_failure, self.flips))

    def with_rounding(self, x: Tensor) -> _Results:
        """Return the results with PyTorch's own rounding measured, if the module can do that."""
        exact = run_in_double(self.module, x, self.stages.replacements)
        if exact is None or len(exact.calls) != len(self.calls):
            return self
        values: list[Tensor | None] = list(exact.outputs)
        if isinstance(self.module, SampledModule):  # the maps are those of the file's own samples
            maps = len(self.outputs) - len(values)
            values = [None] * maps + values[1:] + values[:1]
        outputs = [replace(o, exact=v) for o, v in zip(self.outputs, values, strict=True)]
        flips = self.stages.flips(self.calls, exact.calls)
        return replace(self, outputs=tuple(outputs), flips=flips)

    @property
    def labels(self) -> _Output:
        """The label output."""
        return self.outputs[0]

    @property
    def agreement_given(self) -> float:
        """The share of equal labels, given the same indices."""
        return _agreement(self.labels.plain, self.labels.given, margin=2 * self.labels.limit)


def compare(file: OpenedFile, module: nn.Module, item: GateInput, min_agreement: float) -> GateRow:
    """Compare the file with `module`; the row lists the rules that fail.

    Raises ParityError if the file has other outputs than the module, or another number of
    pool/unpool pairs than PyTorch uses.
    """
    results = _run_both(file, module, item)
    if not results.agrees and not results.stages.misplaced:
        results = results.with_rounding(torch.as_tensor(item.x))
    flip_limit = WINOGRAD_FLIP_LIMIT if file.runtime in WINOGRAD else FLIP_LIMIT
    failures = [
        *_check_indices(results, None if item.adversarial else flip_limit),
        *_check_values(results),
        *_check_labels(results, min_agreement),
    ]
    labels = results.labels
    return GateRow(
        file.runtime,
        item.name,
        tuple(item.feed.shape),
        _agreement(labels.plain, labels.expected),
        largest_difference(labels.found, labels.expected),
        labels.delta_given,
        tuple(stage.count for stage in results.flips),
        tuple(stage.windows for stage in results.flips),
        max((stage.gap for stage in results.flips), default=0.0),
        tuple(failures),
        tuple(OutputDelta(o.name, o.delta_given, o.kept) for o in results.outputs[1:]),
        max(o.rounding for o in results.outputs),
    )


def compare_reduced(
    runtime: str, engine: Engine, module: nn.Module, item: GateInput, computed: str
) -> GateRow:
    """Compare a file in reduced precision with `module`: its labels, and the values it keeps.

    `computed` names the arithmetic of the runtime.
    """
    outputs, _ = run_recorded(_with_masks(module, engine), torch.as_tensor(item.x))
    if engine.masks is not None:
        outputs = (*sample_statistics(outputs[0]), *outputs[1:])
    expected = outputs[0]
    found = [torch.from_numpy(np.array(value)) for value in engine.run_all(item.feed).values()]
    output = found[0]
    agreement = _agreement(_label_map(output), expected)
    names = [port.name for port in engine.outputs]
    others = tuple(
        OutputDelta(name, np.nan, share_kept(value.numpy(), wanted.numpy()))
        for name, value, wanted in zip(names[1:], found[1:], outputs[1:], strict=True)
    )
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
        outputs=others,
    )


def _run_both(file: OpenedFile, module: nn.Module, item: GateInput) -> _Results:
    """Run PyTorch, the file, and PyTorch again with the file's indices."""
    x = torch.as_tensor(item.x)
    module = _with_masks(module, file.plain, file.exposed)
    expected, calls = run_recorded(module, x)
    outputs = {name: np.array(value) for name, value in file.exposed.run_all(item.feed).items()}
    stages = Stages.read(file.indexed, outputs, calls)
    given, given_calls = expected, calls
    if not stages.misplaced:
        given, given_calls = run_recorded(module, x, stages.replacements)
    plain = [torch.from_numpy(np.array(v)) for v in file.plain.run_all(item.feed).values()]
    plain[0] = _label_map(plain[0])
    names = [port.name for port in file.plain.outputs]
    found = [torch.from_numpy(outputs[name]) for name in file.indexed.values]
    if file.indexed.samples is not None and isinstance(module, SampledModule):
        # The maps are compared with those of the file's own samples, which follow as an output.
        samples = torch.from_numpy(outputs[file.indexed.samples])
        samples = samples.clamp_min(module.lowest_log)
        expected = (*sample_statistics(expected[0]), *expected[1:], expected[0])
        given = (*sample_statistics(samples), *given[1:], given[0])
        found, plain, names = [*found, samples], [*plain, samples], [*names, SAMPLES]
    if len(expected) != len(names):
        raise ParityError(
            f"PyTorch returns {len(expected)} outputs but the file has {len(names)}: "
            f"{', '.join(names)}"
        )
    return _Results(
        module,
        tuple(map(_Output, names, expected, given, found, plain)),
        stages,
        given_calls,
        () if stages.misplaced else stages.flips(given_calls),
    )


def _with_masks(module: nn.Module, *engines: Engine) -> nn.Module:
    """Return `module`, or its samples with the masks that `engines` use in their next run."""
    if engines[0].masks is None:
        return module
    for engine in engines:
        assert engine.masks is not None
        engine.masks.frame = 0
    return SampledModule(module, list(engines[0].masks.at(0).values()))


def _check_indices(results: _Results, flip_limit: float | None) -> list[str]:
    """Rule 1: indices stay in their windows, and flip only between nearly tied values.

    `flip_limit` is the share of a stage's windows that may flip; None: any number.
    """
    failures = [
        f"stage {stage}: an index is outside its window" for stage in results.stages.misplaced
    ]
    for output in results.outputs:
        if not torch.isfinite(output.expected).all():
            failures.append(f"PyTorch's own output '{output.name}' is not finite")
    for number, stage in enumerate(results.flips, start=1):
        if gap := _gap_failure(stage):
            failures.append(f"stage {number}: {gap}")
        if flip_limit is not None and stage.count > max(1, flip_limit * stage.windows):
            failures.append(f"stage {number}: {stage.count} of {stage.windows} indices differ")
    return failures


def _gap_failure(stage: StageFlips) -> str:
    """Return why the windows with another index are not nearly tied, or an empty string."""
    limit = max(GAP_LIMIT, ROUNDING_LIMIT * stage.rounding)
    if stage.gap <= limit:
        return ""
    return (
        f"an index differs although its values differ by {stage.gap:.1e} of the stage's maximum "
        f"(limit {limit:.0e})"
    )


def _check_values(results: _Results) -> list[str]:
    """Rule 2: given the file's indices, PyTorch's decoder computes the file's outputs."""
    return [
        f"with the same indices '{output.name}' differs by {output.delta_given:.1e} "
        f"(limit {output.limit:.1e})"
        for output in results.outputs
        if not output.agrees
    ]


def _check_labels(results: _Results, min_agreement: float) -> list[str]:
    """Rule 3: the file without exposed indices yields the same labels and other outputs."""
    shares = {"labels agree on": results.agreement_given}
    shares |= {f"'{output.name}' keeps": output.kept for output in results.outputs[1:]}
    return [
        f"with the same indices {what} {share:.4%} only (limit {min_agreement:.2%})"
        for what, share in shares.items()
        if not share >= min_agreement
    ]


def _label_map(output: Tensor) -> Tensor:
    """Return (N, H, W) labels from logits or from labels."""
    return output.argmax(1) if output.dim() == 4 else output.long()


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
