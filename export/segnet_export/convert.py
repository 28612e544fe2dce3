"""`segnet-export some.onnx`: another form or io for an ONNX file, checked against it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.accuracy.agreement import LEAST
from segnet_deploy.classes import load_classes
from segnet_deploy.errors import EngineError, ParityError, UnsupportedModelError, UsageError
from segnet_deploy.files import atomic_path, sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_precision import precision_of, to_precision
from segnet_deploy.passes.to_symmetric_int8 import to_symmetric_int8
from segnet_deploy.runtimes import installed, open_engine
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.types import Array
from segnet_export.exporter import library_versions, save
from segnet_export.parity.inputs import InputMaker

DYNAMIC_SIZE = (96, 128)


@dataclass(frozen=True)
class ConvertResult:
    """The file, how many places changed, and its lowest agreement with the source."""

    path: Path
    changed: int
    precision: str
    agreement: float
    delta: float
    runtimes: tuple[str, ...]


def convert(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    form: str,
    precision: str = "fp32",
    *,
    for_tensorrt: bool = False,
    min_agreement: float | None = None,
    classes: str | None = None,
    normalisation: Mapping[str, Any] | None = None,
) -> ConvertResult:
    """Write `source` in another `form` and `precision` and compare both.

    `classes` (as for load_classes) and `normalisation` (mean, std, channel_order) replace what
    the file says of itself. An fp16, bf16 or INT8 file stays one; `for_tensorrt` derives what
    TensorRT parses. A reduced precision is compared in every installed runtime, fp32 in ONNX
    Runtime. Raises InputError, UsageError, UnsupportedModelError or ParityError; then no file is
    left.
    """
    model = load_model(Path(source))
    shape = _input_shape(model, source)
    ir.external_data.load_to_model(model)
    if precision == "fp32":
        precision = precision_of(model)
    if for_tensorrt:
        model = to_symmetric_int8(model).model
    result = to_form(model, form, integers=not for_tensorrt or form == "plugin")
    half = to_precision(result.model, precision).model
    known = Metadata.from_props(dict(model.metadata_props))
    metadata = replace(
        known,
        **_facts(model, known, classes, normalisation),
        form=form,
        precision=precision,
        io="frame" if shape[3] == 3 and _is_uint8(model) else "tensor",
        source_sha256=known.source_sha256 or sha256(source),
        versions=known.versions or library_versions(),
    )
    half.metadata_props.update(metadata.to_props())
    least = LEAST[precision] if min_agreement is None else min_agreement
    with atomic_path(path) as temporary:
        save(half, temporary)
        found = _compare(source, temporary, shape, metadata, least)
    agreement, delta = min(a for a, _ in found.values()), max(d for _, d in found.values())
    return ConvertResult(Path(path), result.changed, precision, agreement, delta, tuple(found))


def _facts(
    model: ir.Model, known: Metadata, classes: str | None, normalisation: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what the user says of the model, as fields of its metadata."""
    facts = dict(normalisation or {})
    if facts and _is_uint8(model):
        raise UsageError("--mean, --std, --bgr and --rgb: this file normalises frames itself")
    if classes is not None:
        shape = model.graph.outputs[0].shape
        count = shape[1] if shape is not None and len(shape) == 4 else len(known.classes)
        if not isinstance(count, int) or not count:
            raise UsageError(f"--classes {classes}: the file does not say how many it has")
        names = load_classes(classes, count)
        facts |= {"classes": names.names, "palette": names.palette}
    return facts


def _input_shape(model: ir.Model, source: object) -> tuple[int | None, ...]:
    """Return the input's shape; refuse what is no segmentation net."""
    x, y = model.graph.inputs[0], model.graph.outputs[0]
    ranks = (0 if x.shape is None else len(x.shape), 0 if y.shape is None else len(y.shape))
    if len(model.graph.inputs) != 1 or ranks[0] != 4 or ranks[1] not in (3, 4):
        raise UnsupportedModelError(
            f"{source} is no segmentation net: it takes {x.shape} and gives {y.shape}; expected "
            "one image (N, C, H, W) and logits (N, classes, H, W) or labels (N, H, W)"
        )
    assert x.shape is not None
    return tuple(size if isinstance(size, int) else None for size in x.shape)


def _is_uint8(model: ir.Model) -> bool:
    return model.graph.inputs[0].dtype == ir.DataType.UINT8


def _compare(
    source: str | os.PathLike[str],
    target: Path,
    shape: tuple[int | None, ...],
    metadata: Metadata,
    least: float,
) -> dict[str, tuple[float, float]]:
    """Return agreement and largest difference by runtime. Raises ParityError."""
    frame = metadata.io == "frame"
    height, width = shape[1:3] if frame else shape[2:4]
    maker = InputMaker(
        3 if frame else shape[1] or 3,
        metadata.mean,
        metadata.std,
        metadata.channel_order,
        metadata.io,
    )
    size = (shape[0] or 2, height or DYNAMIC_SIZE[0], width or DYNAMIC_SIZE[1])
    x = maker.natural(size).feed
    old = np.array(open_engine(source, "onnxruntime").run(x))
    names = ["onnxruntime"] if metadata.precision == "fp32" else installed()
    found: dict[str, tuple[float, float]] = {}
    for name in names:
        try:
            new = np.array(open_engine(target, name).run(x))
        except EngineError:
            if name == names[-1] and not found:
                raise
            continue
        found[name] = agreement, delta = _agreement(old, new)
        if agreement < least and not np.isclose(delta, 0):
            raise ParityError(
                f"labels agree with {source} on {agreement:.4%} only in {name} (limit "
                f"{least:.2%}); no file was written"
            )
    return found


def _agreement(old: Array, new: Array) -> tuple[float, float]:
    if old.shape != new.shape:
        raise ParityError(f"the result is {new.shape} but was {old.shape}; no file was written")
    labels = [array.argmax(1) if array.ndim == 4 else array for array in (old, new)]
    delta = float(np.abs(old.astype(np.float64) - new).max())
    return float((labels[0] == labels[1]).mean()), delta
