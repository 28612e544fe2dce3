"""Compute the statistics of BN layers from images, as the authors' compute_bn_statistics.py does.

A training snapshot holds the scale and the shift that were learned. The net runs on batches of
images in training mode; mean and variance of each BN layer are averaged over the batches, and
folded into scale and shift. The script's factor m / (m - 1) on the variance is a division of
integers in Python 2, for which it was written: it is 1, and so it is here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segnet_deploy.accuracy.gate_inputs import InputMaker
from segnet_deploy.caffe.build_model import build_model
from segnet_deploy.caffe.caffemodel import Weights
from segnet_deploy.caffe.layers.normalisation import BN_EPSILON
from segnet_deploy.caffe.net import Net
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.frames import find_inputs, is_video, read_image
from segnet_deploy.metadata import Metadata
from segnet_deploy.progress import Progress, silent, track
from segnet_deploy.runtimes.model_file import ModelFile, save_model
from segnet_deploy.runtimes.onnxruntime import open_file
from segnet_deploy.types import Array, Size

DEFAULT_BATCH = 4  # images; what the authors trained with


def compute_bn_statistics(
    net: Net,
    weights: Weights,
    folder: Path,
    metadata: Metadata,
    size: Size | None = None,
    progress: Progress = silent,
) -> Weights:
    """Return `weights` with the statistics of the images of `folder` folded into every BN layer.

    Images are stretched to the net's size and normalised as `metadata` says; the last batch is left
    out if it is not complete. Raises InputError (no image, a damaged one) or UnsupportedModelError.
    """
    paths = [path for path in find_inputs([folder]) if not is_video(path)]
    if not paths:
        raise InputError(f"{folder} contains no image; expected images that the net was trained on")
    batch = min(net.batch or DEFAULT_BATCH, len(paths))
    built = build_model(net, weights, size=size, batch=batch, bn_statistics=True)
    if not built.statistics:
        raise UnsupportedModelError(
            "--bn-statistics: the net has no BN layer; export it without this option"
        )
    starts = range(0, len(paths) - batch + 1, batch)
    shape = built.model.graph.inputs[0].shape
    assert shape is not None
    channels, height, width = (int(s) for s in shape.numpy()[1:])
    totals: dict[str, Array] = {}
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "statistics.onnx"
        save_model(built.model, file)
        with open_file(ModelFile.read(file), None, operators=False) as engine:
            for start in track(starts, "BN statistics (batches)", progress):
                frames = [read_image(path, extra="quant") for path in paths[start : start + batch]]
                maker = InputMaker.of(metadata, channels, frames)
                found = engine.run_all(maker.natural((batch, height, width)).x)
                for name in (n for names in built.statistics.values() for n in names):
                    totals[name] = totals.get(name, 0) + found[name].astype(np.float64).reshape(-1)
    means = {name: total / len(starts) for name, total in totals.items()}
    folded = {
        layer: _fold(weights[layer], means[mean], means[variance])
        for layer, (mean, variance) in built.statistics.items()
    }
    return {**weights, **folded}


def _fold(blobs: Sequence[Array], mean: Array, variance: Array) -> tuple[Array, Array]:
    """Return the scale and the shift that normalise by `mean` and `variance` as well."""
    scale, shift = (blob.astype(np.float64).reshape(-1) for blob in blobs)
    factor = scale / np.sqrt(variance + BN_EPSILON)
    return factor.astype(np.float32), (shift - factor * mean).astype(np.float32)
