"""Weights stored outside an ONNX file: only inside its own folder, and completely."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from segnet_deploy.errors import InputError


def check_external_tensor(tensor: ir.ExternalTensor, path: Path) -> None:
    """Raise InputError unless an external `tensor` of the model at `path` can be read safely.

    Its file must be inside the folder of `path`, after links are resolved, and long enough.
    """
    folder = path.parent.resolve()
    location = str(tensor.location)
    what = f"tensor '{tensor.name}' is stored in {location[:80]!r}"
    try:
        file = (folder / location).resolve()
        inside = not Path(location).is_absolute() and file.is_relative_to(folder)
        if not inside:
            raise InputError(
                f"{what}, outside the model's folder; copy the data next to the model, and store "
                "a relative location"
            )
        if not file.is_file():
            raise InputError(f"{what}, which does not exist; copy that file next to the model")
        size = file.stat().st_size
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a loop of links
        raise InputError(
            f"{what}, which cannot be read ({error}); export the model again"
        ) from error
    start, length = tensor.offset or 0, tensor.length
    end = start + (tensor.nbytes if length is None else length)
    if start < 0 or end > size or (length is not None and length < tensor.nbytes):
        raise InputError(
            f"{what} at {start} to {end} for {tensor.nbytes} bytes, but the file has {size} bytes; "
            "copy it again"
        )
