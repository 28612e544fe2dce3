"""Run a converted file and its source on one image, and compare the results."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from segnet_deploy import runtimes
from segnet_deploy.accuracy.agreement import MIN_AGREEMENT
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
                f"labels agree with {source} on only {agreement:.4%} in {name} (limit "
                f"{minimum:.2%}); no file was written"
            )
    return found


def _run_source(path: str | os.PathLike[str], x: Array) -> Array:
    """Run the source as it is, in ONNX Runtime's own operators: not in a rewrite of this package.

    Only the plugin's operators, which ONNX Runtime does not have, are those of this package.
    """
    file = ModelFile.read(path)
    with contextlib.closing(open_file(file, None, None if file.has_plugin else False)) as engine:
        attach_masks(engine, Metadata.from_props(file.props))
        return np.array(engine.run(x))


def _run(path: str | os.PathLike[str], runtime: str, x: Array) -> Array:
    with contextlib.closing(runtimes.open(path, runtime)) as engine:
        return np.array(engine.run(x))


def _agreement(old: Array, new: Array) -> tuple[float, float]:
    """Return the share of equal labels and the largest absolute difference."""
    if old.shape != new.shape:
        raise ParityError(f"the result is {new.shape}, was {old.shape}; no file was written")
    labels = [array.argmax(1) if array.ndim == 4 else array for array in (old, new)]
    delta = float(np.abs(old.astype(np.float64) - new).max())
    return float((labels[0] == labels[1]).mean()), delta
