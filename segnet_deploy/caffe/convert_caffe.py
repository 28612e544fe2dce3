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
from segnet_deploy.caffe.caffemodel import read_caffemodel
from segnet_deploy.caffe.net import Net, read_net
from segnet_deploy.caffe.training_signs import find_training_signs
from segnet_deploy.classes import load_classes
from segnet_deploy.conversion import ConvertResult, convert
from segnet_deploy.errors import SegNetError, UnsupportedModelError
from segnet_deploy.files import check_writable, sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_frame_io import to_frame_io
from segnet_deploy.progress import Progress, naming, silent
from segnet_deploy.runtimes.model_file import save_model
from segnet_deploy.system.machine import exporter_versions
from segnet_deploy.types import Frame, Size


@dataclass(frozen=True)
class CaffeResult:
    """The written file, and what was found out about the net.

    `warnings` are doubts about the caffemodel, `notes` what else the user should know; `dropouts`
    names the Dropout layers, which the file leaves out; `size` is the input's (height, width).
    """

    conversion: ConvertResult
    parameters: int
    classes: int
    size: Size
    dropouts: tuple[str, ...]
    notes: tuple[str, ...]
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
    images: Sequence[Frame] = (),
    min_agreement: float | None = None,
    progress: Progress = silent,
) -> CaffeResult:
    """Write the net of `prototxt` with the weights of `caffemodel` as ONNX, and compare the forms.

    `size` replaces the (height, width) of the prototxt. `form` and `precision` are as for
    `convert`, which compares the file with the net in ONNX Runtime's own operators. `io` is tensor
    or frame. `normalisation` (mean, std, channel_order) and `classes` (as for load_classes) are
    what the net was trained with; by default raw BGR, 0 to 255, as the authors of SegNet trained.
    `bn_statistics` is a folder of training images, from which the statistics of a training
    snapshot are computed. Labels of `images`, by default drawn streets, are looked at: a snapshot
    without statistics gives one class everywhere.

    Raises InputError, UnsupportedModelError or ParityError; then no file is written.

    >>> result = convert_caffe("net.caffemodel", "net.prototxt", "segnet.onnx")
    >>> result.classes, result.conversion.agreement
    (3, 1.0)
    """
    check_writable(path)
    net, weights = read_net(Path(prototxt)), read_caffemodel(Path(caffemodel))
    metadata = _metadata(net, normalisation or {})
    if bn_statistics is not None:
        weights = compute_bn_statistics(
            net, weights, Path(bn_statistics), metadata, size=size, progress=progress
        )
        net = net.with_inference_bn()
    built = build_model(net, weights, size=size, batch=batch)
    count, shape = _count_classes(built.model)
    names = load_classes(classes, count)
    metadata = replace(
        metadata,
        classes=names.names,
        palette=names.palette,
        form="standard",
        source_sha256=sha256(caffemodel),
        versions=exporter_versions(),
    )
    built.model.metadata_props.update(metadata.to_props())
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{Path(caffemodel).stem}.onnx"
        save_model(built.model, source)
        shown = naming(progress, source, caffemodel)
        warnings = find_training_signs(net, weights, source, images, shown)
        if io == "frame":
            _write_frame_io(built, replace(metadata, io="frame"), source)
        try:
            result = convert(
                source, path, form, precision, min_agreement=min_agreement, progress=shown
            )
        except SegNetError as error:
            error.args = tuple(str(t).replace(str(source), str(caffemodel)) for t in error.args)
            raise
    return CaffeResult(
        result, built.parameters, count, shape, built.dropouts, built.notes, warnings
    )


def _metadata(net: Net, normalisation: Mapping[str, Any]) -> Metadata:
    """Return what the data layer and the caller state about the input, as metadata."""
    mean = net.mean * 3 if len(net.mean) == 1 else net.mean or (0.0, 0.0, 0.0)
    std = (1 / net.scale if net.scale else 0.0,) * 3
    stated: dict[str, Any] = {"mean": mean, "std": std, "channel_order": "bgr"}
    return Metadata(**stated | dict(normalisation))


def _count_classes(model: ir.Model) -> tuple[int, Size]:
    """Return the number of classes and the input's size. Raises UnsupportedModelError."""
    x, y = model.graph.inputs[0], model.graph.outputs[0]
    if x.shape is None or y.shape is None or len(y.shape) != 4:
        raise UnsupportedModelError(
            f"the net's result '{y.name}' is {y.shape}; expected (N, classes, H, W)"
        )
    return int(y.shape.numpy()[1]), (int(x.shape.numpy()[2]), int(x.shape.numpy()[3]))


def _write_frame_io(built: CaffeModel, metadata: Metadata, path: Path) -> None:
    to_frame_io(built.model, metadata.mean, metadata.std, metadata.channel_order)
    built.model.metadata_props.update(metadata.to_props())
    save_model(built.model, path)
