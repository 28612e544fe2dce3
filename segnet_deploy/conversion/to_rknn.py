"""Write the ONNX file that RKNN-Toolkit2 reads: lowered form, opset 19 at most."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from segnet_deploy.conversion.compare_files import compare_files
from segnet_deploy.conversion.convert import ConvertResult
from segnet_deploy.conversion.lower_for_device import lower_for_device
from segnet_deploy.files import atomic_path
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_opset import to_opset
from segnet_deploy.progress import Progress, naming, silent
from segnet_deploy.runtimes.model_file import load_model, save_model

NEWEST_OPSET = 19  # RKNN-Toolkit2 2.5.0 refuses a newer one


def to_rknn(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    progress: Progress = silent,
    **options: Any,
) -> ConvertResult:
    """Write `source`, an ONNX file, as RKNN-Toolkit2 reads it, and compare both in ONNX Runtime.

    `options` are those of `lower_for_device`. Raises its errors; then no file is written.
    """
    with tempfile.TemporaryDirectory() as folder:
        lowered = Path(folder) / "lowered.onnx"
        result = lower_for_device(source, lowered, progress=progress, **options)
        model = to_opset(load_model(lowered), NEWEST_OPSET).model
        metadata = Metadata.from_props(dict(model.metadata_props))
        static = model.graph.inputs[0].shape
        assert static is not None
        shape = static.numpy()
        with atomic_path(path) as temporary:
            save_model(model, temporary)
            shown = naming(progress, lowered, source)
            compare_files(lowered, temporary, shape, metadata, None, shown)
    return replace(result, path=Path(path))
