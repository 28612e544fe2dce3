"""A prototxt and a caffemodel -> a checked ONNX file, without Caffe and without torch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segnet_deploy.caffe.bn_statistics import compute_bn_statistics
from segnet_deploy.caffe.build_model import CaffeModel, build_model
from segnet_deploy.caffe.caffemodel import Weights, read_caffemodel
from segnet_deploy.caffe.net import Net, read_net
from segnet_deploy.caffe.training_signs import find_training_signs
from segnet_deploy.classes import load_classes
from segnet_deploy.conversion import ConvertResult, convert
from segnet_deploy.errors import UnsupportedModelError, renamed
from segnet_deploy.files import check_writable, sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.sample_dropout import sample_dropout
from segnet_deploy.passes.to_frame_io import to_frame_io
from segnet_deploy.progress import Progress, naming, silent
from segnet_deploy.runtimes.model_file import save_model
from segnet_deploy.system.machine import exporter_versions
from segnet_deploy.types import Frame, Size


@dataclass(frozen=True)
class CaffeResult:
    """The written file, and what was found out about the net.

    `model` counts its parameters and names its Dropout layers, sampled or left out; `size` is
    the input's (height, width); `warnings` are doubts about the caffemodel.
    """

    conversion: ConvertResult
    model: CaffeModel
    classes: int
    size: Size
    warnings: tuple[str, ...]


def convert_caffe(
    caffemodel: str | os.PathLike[str],
    prototxt: str | os.PathLike[str],
    path: str | os.PathLike[str],
    form: str = "standard",
    precision: str = "fp32",
    *,
    size: Size | None = None,
    batch: int = 1,
    io: str = "tensor",
    classes: str | None = None,
    normalisation: Mapping[str, Any] | None = None,
    bn_statistics: str | os.PathLike[str] | None = None,
    mc_dropout: int = 0,
    images: Sequence[Frame] = (),
    min_agreement: float | None = None,
    progress: Progress = silent,
) -> CaffeResult:
    """Write the net of `prototxt` with the weights of `caffemodel` as ONNX, and check the file.

    `form`, `precision` and `min_agreement` are as for `convert`; `io` is tensor or frame. `size`,
    (height, width), replaces that of the prototxt. `normalisation` (mean, std, channel_order) and
    `classes` (as for load_classes) are what the net was trained with; default: raw BGR, 0 to 255.
    `bn_statistics` is a folder of images for a training snapshot; `mc_dropout` counts the samples
    of the Dropout layers, 0 leaves them out. The labels of `images`, by default drawn streets, are
    looked at. Raises InputError, UnsupportedModelError, ParityError.

    >>> result = convert_caffe("net.caffemodel", "net.prototxt", "segnet.onnx", size=(24, 32))
    >>> result.classes, result.conversion.agreement
    (5, 1.0)
    """
    check_writable(path)
    net, weights = read_net(Path(prototxt)), read_caffemodel(Path(caffemodel))
    metadata = _metadata(net, normalisation or {})
    if bn_statistics is not None:
        net, weights = _with_statistics(net, weights, bn_statistics, metadata, size, progress)
    built = build_model(net, weights, size=size, batch=batch, keep_dropout=bool(mc_dropout))
    count, shape = _describe(built.model, metadata, classes, sha256(caffemodel), mc_dropout)
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / f"{Path(caffemodel).stem}.onnx"
        shown = naming(progress, source, caffemodel)
        save_model(built.model, source)
        warnings = find_training_signs(net, weights, source, images, shown)
        if io == "frame":
            _rewrite_to_frame_io(built.model, source)
        with renamed(source, caffemodel):
            result = convert(
                source, path, form, precision, min_agreement=min_agreement, progress=shown
            )
    return CaffeResult(result, built, count, shape, warnings)


def _with_statistics(
    net: Net,
    weights: Weights,
    images: str | os.PathLike[str],
    metadata: Metadata,
    size: Size | None,
    progress: Progress,
) -> tuple[Net, Weights]:
    """Return the net of a training snapshot for inference, with the statistics of `images`."""
    found = compute_bn_statistics(net, weights, Path(images), metadata, size, progress)
    return net.with_inference_bn(), found


def _metadata(net: Net, normalisation: Mapping[str, Any]) -> Metadata:
    """Return what the data layer and the caller state about the input, as metadata."""
    mean = net.mean * 3 if len(net.mean) == 1 else net.mean or (0.0, 0.0, 0.0)
    std = (1 / net.scale if net.scale else 0.0,) * 3
    stated: dict[str, Any] = {"mean": mean, "std": std, "channel_order": "bgr"}
    return Metadata(**stated | dict(normalisation))


def _describe(
    model: ir.Model, metadata: Metadata, classes: str | None, digest: str, samples: int
) -> tuple[int, Size]:
    """Record what the model is, and sample its dropout if `samples` is not 0.

    Return the number of classes and the input's (height, width).
    """
    x, y = model.graph.inputs[0], model.graph.outputs[0]
    if x.shape is None or y.shape is None or len(y.shape) != 4:
        raise UnsupportedModelError(
            f"the net's result '{y.name}' is {y.shape}; expected (N, classes, H, W)"
        )
    count = int(y.shape.numpy()[1])
    names = load_classes(classes, count)
    described = replace(
        metadata,
        classes=names.names,
        palette=names.palette,
        form="standard",
        source_sha256=digest,
        versions=exporter_versions(),
    )
    model.metadata_props.update(described.to_props())
    if samples:
        sample_dropout(model, samples)
    return count, (int(x.shape.numpy()[2]), int(x.shape.numpy()[3]))


def _rewrite_to_frame_io(model: ir.Model, path: Path) -> None:
    metadata = Metadata.from_props(dict(model.metadata_props))
    to_frame_io(model, metadata.mean, metadata.std, metadata.channel_order)
    model.metadata_props.update(replace(metadata, io="frame").to_props())
    save_model(model, path)
