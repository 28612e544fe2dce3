"""`segnet-export some.onnx`: another form or io for an ONNX file, checked against it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import ParityError, UnsupportedModelError
from segnet_deploy.files import atomic_path, sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.forms import to_form
from segnet_deploy.passes.precision import to_precision
from segnet_deploy.runtimes import open_engine
from segnet_deploy.runtimes.model_file import load_model
from segnet_export.exporting import library_versions, save
from segnet_export.gate_inputs import InputMaker

MIN_AGREEMENT = {"fp32": 0.9999, "fp16": 0.99, "bf16": 0.99}
DYNAMIC_SIZE = (96, 128)


@dataclass(frozen=True)
class ConvertResult:
    """The file, how many places changed, and its agreement with the source."""

    path: Path
    changed: int
    agreement: float
    delta: float


def convert(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    form: str,
    precision: str = "fp32",
) -> ConvertResult:
    """Write `source` in another `form` and `precision` and compare both in ONNX Runtime.

    Raises InputError, UnsupportedModelError or ParityError; then no file is left.
    """
    model = load_model(Path(source))
    shape = _input_shape(model, source)
    result = to_form(model, form)
    half = to_precision(result.model, precision).model
    known = Metadata.from_props(dict(model.metadata_props))
    metadata = replace(
        known,
        form=form,
        precision=precision,
        io="frame" if shape[3] == 3 and _is_uint8(model) else "tensor",
        source_sha256=known.source_sha256 or sha256(source),
        versions=known.versions or library_versions(),
    )
    half.metadata_props.update(metadata.to_props())
    with atomic_path(path) as temporary:
        save(half, temporary)
        agreement, delta = _compare(source, temporary, shape, metadata)
    return ConvertResult(Path(path), result.changed, agreement, delta)


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
) -> tuple[float, float]:
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
    old, new = (np.array(open_engine(p, "onnxruntime").run(x)) for p in (source, target))
    if old.shape != new.shape:
        raise ParityError(f"the result is {new.shape} but was {old.shape}; no file was written")
    labels = [array.argmax(1) if array.ndim == 4 else array for array in (old, new)]
    agreement = float((labels[0] == labels[1]).mean())
    delta = float(np.abs(old.astype(np.float64) - new).max())
    least = MIN_AGREEMENT[metadata.precision]
    if agreement < least and not np.isclose(delta, 0):
        raise ParityError(
            f"labels agree with {source} on {agreement:.4%} only (limit {least:.2%}); "
            "no file was written"
        )
    return agreement, delta
