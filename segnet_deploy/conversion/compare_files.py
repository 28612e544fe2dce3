"""Run a converted file and its source on one image, and compare the results."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from segnet_deploy import runtimes
from segnet_deploy.accuracy.agreement import MIN_AGREEMENT, share_kept
from segnet_deploy.accuracy.gate_inputs import InputMaker
from segnet_deploy.errors import EngineError, ParityError
from segnet_deploy.metadata import Metadata
from segnet_deploy.progress import Progress
from segnet_deploy.runtimes.dropout_masks import attach_masks
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.runtimes.onnxruntime import open_file
from segnet_deploy.types import Array, Size

DYNAMIC_SIZE: Size = (96, 128)  # at which files of dynamic size are compared


def compare_files(
    source: str | os.PathLike[str],
    target: Path,
    shape: tuple[int | None, ...],
    metadata: Metadata,
    min_agreement: float | None,
    progress: Progress,
) -> dict[str, tuple[float, float]]:
    """Return agreement and largest difference by runtime. Raises ParityError.

    The agreement is the lowest of the labels and of what other outputs keep of their values.
    `min_agreement` None is the default of the precision.
    """
    minimum = MIN_AGREEMENT[metadata.precision] if min_agreement is None else min_agreement
    frame = metadata.io == "frame"
    height, width = shape[1:3] if frame else shape[2:4]
    channels = 3 if frame else shape[1] or 3
    maker = InputMaker(channels, metadata.mean, metadata.std, metadata.channel_order, metadata.io)
    size = (shape[0] or 2, height or DYNAMIC_SIZE[0], width or DYNAMIC_SIZE[1])
    x = maker.natural(size).feed
    old = _run_source(source, x)
    names = ["onnxruntime"] if metadata.precision == "fp32" else runtimes.installed()
    found: dict[str, tuple[float, float]] = {}
    for name in names:
        progress(f"{name}: comparing with {source}")
        try:
            new = _run(target, name, x)
        except EngineError as error:
            if name == names[-1] and not found:
                raise
            progress(f"left out: {error}")
            continue
        found[name] = agreement, delta = _agreement(old, new)
        if agreement < minimum and not np.isclose(delta, 0):
            raise ParityError(
                f"{'labels agree' if len(old) == 1 else 'outputs agree'} with {source} on only "
                f"{agreement:.4%} in {name} (limit {minimum:.2%}); no file was written"
            )
    return found


def _run_source(path: str | os.PathLike[str], x: Array) -> dict[str, Array]:
    """Run the source as it is, in ONNX Runtime's own operators: not in a rewrite of this package.

    Only the plugin's operators, which ONNX Runtime does not have, are those of this package.
    """
    file = ModelFile.read(path)
    with contextlib.closing(open_file(file, None, None if file.has_plugin else False)) as engine:
        attach_masks(engine, Metadata.from_props(file.props))
        return {name: np.array(value) for name, value in engine.run_all(x).items()}


def _run(path: str | os.PathLike[str], runtime: str, x: Array) -> dict[str, Array]:
    with contextlib.closing(runtimes.open(path, runtime)) as engine:
        return {name: np.array(value) for name, value in engine.run_all(x).items()}


def _agreement(old: dict[str, Array], new: dict[str, Array]) -> tuple[float, float]:
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
