"""Convert an ONNX file to another form or precision, and compare the result with the source."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segnet_deploy.classes import load_classes
from segnet_deploy.conversion.compare_files import Likeness, compare_files
from segnet_deploy.errors import UnsupportedModelError, UsageError
from segnet_deploy.files import atomic_path, sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes import PassResult
from segnet_deploy.passes.sampling_names import is_mask
from segnet_deploy.passes.to_form import to_form, to_tensorrt_form
from segnet_deploy.passes.to_precision import precision_of, to_precision
from segnet_deploy.passes.to_two_classes import (
    THRESHOLD,
    find_kind,
    has_one_channel,
    to_two_classes,
)
from segnet_deploy.pretrained import find_file
from segnet_deploy.progress import Progress, naming, silent
from segnet_deploy.runtimes.model_file import load_model, save_model
from segnet_deploy.system.machine import exporter_versions
from segnet_deploy.types import Frame


@dataclass(frozen=True)
class ConvertResult:
    """The file at `path`, the number of rewritten pairs, and the comparison with the source.

    `agreement` is the lowest share of equal labels, 0 to 1, and `delta` the largest absolute
    difference of an output, over `runtimes`. `computed` is what each of them computes in.
    """

    path: Path
    changed: int
    precision: str
    agreement: float
    delta: float
    runtimes: tuple[str, ...]
    computed: tuple[str, ...] = ()


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
    images: Sequence[Frame] = (),
    progress: Progress = silent,
) -> ConvertResult:
    """Write `source`, an ONNX file, in another `form` and `precision`, and compare both.

    `form` is standard, lowered or plugin; `precision` is fp32, fp16 or bf16, and an fp16, bf16 or
    INT8 file keeps its own. `for_tensorrt` writes the INT8 that TensorRT parses. `classes` (as
    for load_classes) and `normalisation` (mean, std, channel_order) replace what the file
    records. A reduced precision is compared in every installed runtime, fp32 in ONNX Runtime;
    `min_agreement` is the share of equal labels that is required; its default depends on what a
    runtime computes in. `images`, (H, W, 3) uint8 BGR, are compared on; none: a drawn street.

    Raises InputError, UsageError, UnsupportedModelError or ParityError; then no file is written.

    >>> result = convert("segnet.onnx", "segnet_lowered.onnx", "lowered")
    >>> result.changed, result.agreement
    (5, 1.0)
    """
    model = load_model(source := find_file(source))
    shape = _input_shape(model, source)
    ir.external_data.load_to_model(model)
    model, kind = _with_two_classes(model, progress)
    precision = precision_of(model) if precision == "fp32" else precision
    result = _rewrite(model, form, precision, for_tensorrt)
    recorded = Metadata.from_props(dict(model.metadata_props))
    metadata = replace(
        recorded,
        **_replacements(model, recorded, classes, normalisation),
        **_origin(recorded, source),
        form=form,
        precision=precision,
        io="frame" if shape[3] == 3 and _is_uint8(model) else "tensor",
    )
    result.model.metadata_props.update(metadata.to_props())
    with atomic_path(path) as temporary:
        save_model(result.model, temporary)
        shown = naming(progress, temporary, path)
        limit = min_agreement
        found = compare_files(source, temporary, shape, metadata, limit, shown, images, kind)
    return _summary(Path(path), result.changed, precision, found)


def _with_two_classes(model: ir.Model, progress: Progress) -> tuple[ir.Model, str]:
    """Return the model with two classes in place of one channel, and what that held, or ''."""
    if not has_one_channel(model):
        return model, ""
    kind = find_kind(model)
    progress(f"note: one output channel with {kind}: two classes in the file")
    model = to_two_classes(model, kind).model
    recorded = Metadata.from_props(dict(model.metadata_props))
    model.metadata_props.update(replace(recorded, threshold=THRESHOLD).to_props())
    return model, kind


def _origin(recorded: Metadata, source: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what is recorded once, by the first tool that wrote the file."""
    return {
        "source_sha256": recorded.source_sha256 or sha256(source),
        "versions": recorded.versions or exporter_versions(),
    }


def _summary(path: Path, changed: int, precision: str, found: Sequence[Likeness]) -> ConvertResult:
    return ConvertResult(
        path,
        changed,
        precision,
        min(row.agreement for row in found),
        max(row.delta for row in found),
        tuple(row.runtime for row in found),
        tuple(row.computed for row in found),
    )


def _rewrite(model: ir.Model, form: str, precision: str, for_tensorrt: bool) -> PassResult:
    """Return the model in its new form and precision, and the number of rewritten pairs."""
    result = (to_tensorrt_form if for_tensorrt else to_form)(model, form)
    return replace(result, model=to_precision(result.model, precision).model)


def _replacements(
    model: ir.Model,
    recorded: Metadata,
    classes: str | None,
    normalisation: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what the caller states about the model, as fields of its metadata."""
    fields = dict(normalisation or {})
    if fields and _is_uint8(model):
        raise UsageError("--mean, --std, --bgr and --rgb: this file normalises frames itself")
    if classes is not None:
        shape = model.graph.outputs[0].shape
        count = shape[1] if shape is not None and len(shape) == 4 else len(recorded.classes)
        if not isinstance(count, int) or not count:
            raise UsageError(f"--classes {classes}: the file does not record how many it has")
        names = load_classes(classes, count)
        fields |= {"classes": names.names, "palette": names.palette}
    return fields


def _input_shape(model: ir.Model, source: object) -> tuple[int | None, ...]:
    """Return the input's shape. Raises UnsupportedModelError if it is not a segmentation model."""
    x, y = model.graph.inputs[0], model.graph.outputs[0]
    ranks = (0 if x.shape is None else len(x.shape), 0 if y.shape is None else len(y.shape))
    images = [value for value in model.graph.inputs if not is_mask(str(value.name))]
    if len(images) != 1 or ranks[0] != 4 or ranks[1] not in (3, 4):
        raise UnsupportedModelError(
            f"{source} is not a segmentation model: its input is {x.shape}, its output {y.shape}; "
            "expected one image (N, C, H, W) and logits (N, classes, H, W) or labels (N, H, W)"
        )
    assert x.shape is not None
    return tuple(size if isinstance(size, int) else None for size in x.shape)


def _is_uint8(model: ir.Model) -> bool:
    return model.graph.inputs[0].dtype == ir.DataType.UINT8
