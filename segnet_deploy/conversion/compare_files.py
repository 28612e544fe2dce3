"""Run a converted file and its source on the same images, and compare the results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segnet_deploy import runtimes
from segnet_deploy.accuracy.agreement import MIN_AGREEMENT, arithmetic, default_limit, share_kept
from segnet_deploy.accuracy.gate_inputs import GateInput, InputMaker
from segnet_deploy.errors import EngineError, ParityError
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_two_classes import PROBABILITY, two_classes
from segnet_deploy.progress import Progress
from segnet_deploy.runtimes.base import Engine
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.runtimes.onnxruntime import open_witness
from segnet_deploy.types import Array, Frame, Size

Outputs = dict[str, Array]
DYNAMIC_SIZE: Size = (96, 128)  # at which files of dynamic size are compared


@dataclass(frozen=True)
class Likeness:
    """How a file agrees with its source in one runtime, over all images.

    `agreement` is the mean share of equal labels, 0 to 1; `delta` the largest absolute difference
    of an output; `computed` the arithmetic, such as bf16 or "weight rounding only".
    """

    runtime: str
    computed: str
    agreement: float
    delta: float


def compare_files(
    source: str | os.PathLike[str],
    target: Path,
    shape: tuple[int | None, ...],
    metadata: Metadata,
    min_agreement: float | None,
    progress: Progress,
    images: Sequence[Frame] = (),
    kind: str = "",
) -> list[Likeness]:
    """Return the likeness in each runtime. Raises ParityError.

    `images` are (H, W, 3) uint8 BGR; none: a drawn street. The agreement is the lowest of the
    labels and of what other outputs keep of their values. `min_agreement` None is the default of
    the arithmetic. `kind` is that of the source's one output channel, which `target` has as two
    classes (segnet_deploy.passes.to_two_classes).
    """
    inputs = _inputs(shape, metadata, images)
    expected = run_source(source, inputs)
    if kind:
        expected = [_with_two_classes(outputs, kind) for outputs in expected]
    names = ["onnxruntime"] if metadata.precision == "fp32" else runtimes.installed()
    found: list[Likeness] = []
    for name in names:
        progress(f"{name}: comparing with {source}")
        try:
            half, results = _run(target, name, inputs)
        except EngineError as error:
            if name == names[-1] and not found:
                raise
            progress(f"left out: {error}")
            continue
        agreements, deltas = zip(*map(compare_outputs, expected, results), strict=True)
        if not np.isfinite(deltas).all():
            raise ParityError(
                f"results of {source} or of the new file are not finite, so they cannot be "
                "compared; no file was written: check the weights and the normalisation"
            )
        computed = arithmetic(metadata.precision, half)
        likeness = Likeness(name, computed, float(np.mean(agreements)), max(deltas))
        minimum = default_limit(metadata.precision, half)
        minimum = minimum if min_agreement is None else min_agreement
        if likeness.agreement < minimum and not np.isclose(likeness.delta, 0):
            raise ParityError(
                f"{'labels agree' if len(expected[0]) == 1 else 'outputs agree'} with {source} on "
                f"only {likeness.agreement:.4%} in {name}, over {len(inputs)} inputs ({computed}, "
                f"limit {minimum:.2%}); no file was written"
            )
        found.append(likeness)
    return found


def _inputs(
    shape: tuple[int | None, ...], metadata: Metadata, images: Sequence[Frame]
) -> list[Array]:
    """Return the file's input for each batch of images."""
    frame = metadata.io == "frame"
    height, width = shape[1:3] if frame else shape[2:4]
    channels = 3 if frame else shape[1] or 3
    maker = InputMaker.of(metadata, channels, images)
    batch = shape[0] or (2 if len(images) != 1 else 1)
    size = (batch, height or DYNAMIC_SIZE[0], width or DYNAMIC_SIZE[1])
    return [maker.natural(size, start).feed for start in range(0, max(1, len(images)), batch)]


def run_source(path: str | os.PathLike[str], inputs: Sequence[Array]) -> list[Outputs]:
    """Run the source as it is, not in a rewrite of this package."""
    with contextlib.closing(open_witness(ModelFile.read(path))) as engine:
        return [copy_outputs(engine, x) for x in inputs]


def _run(
    path: str | os.PathLike[str], runtime: str, inputs: Sequence[Array]
) -> tuple[bool, list[Outputs]]:
    """Return whether halves are computed as such, and the results of each input."""
    with contextlib.closing(runtimes.open(path, runtime)) as engine:
        return engine.computes_half, [copy_outputs(engine, x) for x in inputs]


def copy_outputs(engine: Engine, x: Array) -> Outputs:
    """Run an engine and return its outputs, which stay valid after the next call."""
    return {name: np.array(value) for name, value in engine.run_all(x).items()}


def _with_two_classes(outputs: Outputs, kind: str) -> Outputs:
    """Return the outputs that the file gets for those of a source with one channel."""
    name = next(iter(outputs))
    both, probability = two_classes(outputs[name], kind)
    added = PROBABILITY
    while added in outputs:
        added += "_output"
    return outputs | {name: both, added: probability}


def compare_outputs(old: Outputs, new: Outputs) -> tuple[float, float]:
    """Return the lowest share kept, of labels and of other values, and the largest difference."""
    shapes = [{name: value.shape for name, value in found.items()} for found in (new, old)]
    if list(shapes[0].items()) != list(shapes[1].items()):
        raise ParityError(f"the results are {shapes[0]}, were {shapes[1]}; no file was written")
    shares, deltas = [], []
    for number, name in enumerate(old):
        one, other = old[name], new[name]
        if number == 0:
            labels = [array.argmax(1) if array.ndim == 4 else array for array in (one, other)]
            shares.append(float((labels[0] == labels[1]).mean()))
        else:
            shares.append(share_kept(other, one))
        deltas.append(float(np.abs(one.astype(np.float64) - other).max()))
    return min(shares), max(deltas)


def check_outputs(
    what: str,
    advice: str,
    inputs: Sequence[GateInput],
    expected: Sequence[Outputs],
    found: Sequence[Outputs],
    min_agreement: float | None = None,
) -> tuple[float, float]:
    """Return the share of equal labels, 0 to 1, and the largest difference. Raises ParityError.

    The share is the mean over the images, or that of another kind of input if it is lower.
    `min_agreement` is its limit; default: that of fp32. `what` agrees, and the `advice` if it does
    not, are the words of the error.
    """
    minimum = MIN_AGREEMENT["fp32"] if min_agreement is None else min_agreement
    shares: dict[str, list[float]] = {}
    delta = 0.0
    for item, old, new in zip(inputs, expected, found, strict=True):
        share, difference = compare_outputs(old, new)
        shares.setdefault(item.name, []).append(share)
        delta = float(np.maximum(delta, difference))
    agreement, worst = min((float(np.mean(values)), name) for name, values in shares.items())
    if not agreement >= minimum or not np.isfinite(delta):
        raise ParityError(
            f"{what} on only {agreement:.4%} of {worst} inputs (limit {minimum:.2%}; largest "
            f"difference {delta:.1e}); no file was written: {advice}"
        )
    return agreement, delta
