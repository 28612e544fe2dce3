"""The lowered file that other devices' tools read: static sizes, float input, fp32."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from segnet_deploy.conversion.convert import ConvertResult, convert
from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.sampling_names import is_mask
from segnet_deploy.passes.to_precision import precision_of
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.types import Frame


def lower_for_device(
    source: str | os.PathLike[str],
    path: Path,
    *,
    dynamic_batch: bool = False,
    classes: str | None = None,
    normalisation: Mapping[str, Any] | None = None,
    images: Sequence[Frame] = (),
    min_agreement: float | None = None,
    progress: Progress = silent,
) -> ConvertResult:
    """Write `source` in lowered form, compared with it in ONNX Runtime. Options as for `convert`.

    `dynamic_batch` says whether the device takes one. Raises UnsupportedModelError for dynamic
    sizes, frame io, another precision than fp32, and sampled dropout.
    """
    _check(load_model(Path(source)), source, dynamic_batch)
    return convert(
        source,
        path,
        "lowered",
        classes=classes,
        normalisation=normalisation,
        images=images,
        min_agreement=min_agreement,
        progress=progress,
    )


def _check(model: ir.Model, source: object, dynamic_batch: bool) -> None:
    image = model.graph.inputs[0]
    fixed = None if image.shape is None else list(image.shape)[1 if dynamic_batch else 0 :]
    precision = precision_of(model)
    if any(is_mask(str(value.name)) for value in model.graph.inputs):
        reason = "samples its dropout: export without --mc-dropout"
    elif fixed is None or not all(isinstance(size, int) for size in fixed):
        reason = f"has an input of dynamic size {image.shape}: export without --dynamic"
        reason += " size" if dynamic_batch else ""
    elif image.dtype == ir.DataType.UINT8:
        reason = "reads frames: export with --io tensor"
    elif precision != "fp32":
        reason = f"is {precision}: give the fp32 file, the device's tool quantises it"
    else:
        return
    raise UnsupportedModelError(f"{source} {reason}")
