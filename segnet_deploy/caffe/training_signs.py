"""Tell a training snapshot from a finished model: their files have the same format.

Of a finished model, each BN layer's scale and shift contain the statistics of its input, which
differ from channel to channel. Those of a snapshot hold only what was learned, near 1 and 0; such a
net gives one class everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segnet_deploy.accuracy.gate_inputs import InputMaker
from segnet_deploy.caffe.caffemodel import Weights
from segnet_deploy.caffe.net import Net
from segnet_deploy.metadata import Metadata
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.runtimes.onnxruntime import open_file
from segnet_deploy.types import Frame

ONE_CLASS = 0.99  # share of the labels of a natural image
LEARNED_SPREAD = 0.1  # of log|scale| within a BN layer, median over the layers
_ADVICE = (
    "if it was saved by training, compute the statistics from training images: --bn-statistics DIR"
)


def find_training_signs(
    net: Net,
    weights: Weights,
    path: Path,
    images: Sequence[Frame] = (),
    progress: Progress = silent,
) -> tuple[str, ...]:
    """Return warnings if the net looks like a training snapshot, or gives one class everywhere.

    `path` is its ONNX file, which labels the first of `images`, or drawn streets.
    """
    layers = [layer.name for layer in net.layers if layer.type == "BN"]
    warnings = []
    if layers and _looks_learned(layers, weights):
        warnings.append(
            f"the {len(layers)} BN layers have nearly equal scales in all channels, as in a "
            f"training snapshot without statistics; {_ADVICE}"
        )
    progress("looking at the labels of a natural image")
    share, label = _largest_share(path, images)
    if share >= ONE_CLASS:
        advice = _ADVICE if layers else "check --mean, --std and the caffemodel"
        warnings.append(f"{share:.1%} of the labels of a natural image are class {label}; {advice}")
    return tuple(warnings)


def _looks_learned(layers: Sequence[str], weights: Weights) -> bool:
    """Return whether the scales of most BN layers are nearly equal within the layer, and near 1.

    Statistics differ from channel to channel: the standard deviation of log|scale| within a layer
    is 0.09 to 0.64 in the one finished model at hand, and 0.004 to 0.1 in its snapshot.
    """
    logs = [np.log(np.abs(weights[name][0]) + 1e-12) for name in layers]
    spread = float(np.median([values.std() for values in logs]))
    middle = float(np.median([np.median(values) for values in logs]))
    return spread < LEARNED_SPREAD and abs(middle) < np.log(3)


def _largest_share(path: Path, images: Sequence[Frame]) -> tuple[float, int]:
    """Return the share of the most frequent label, and that label."""
    file = ModelFile.read(path)
    metadata = Metadata.from_props(file.props)
    with open_file(file, None, operators=False) as engine:
        batch, channels, height, width = (int(size or 1) for size in engine.inputs[0].shape)
        maker = InputMaker.of(metadata, channels, images)
        labels = engine.run(maker.natural((batch, height, width)).x).argmax(1)
    counts = np.bincount(labels.reshape(-1))
    return float(counts.max() / labels.size), int(counts.argmax())
