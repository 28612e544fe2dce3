"""Weights stored outside an ONNX file: only inside its own folder, and completely."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from segnet_deploy.errors import InputError


def check_external_data(model: ir.Model, path: Path) -> None:
    """Raise InputError unless every external tensor of `model` can be read safely.

    Its file must be inside the folder of `path`, after links are resolved, and long enough.
    """
    folder = path.parent.resolve()
    for tensor in _external_tensors(model):
        _check_tensor(tensor, path, folder)


def _check_tensor(tensor: ir.ExternalTensor, path: Path, folder: Path) -> None:
    location = str(tensor.location)
    what = f"{path}: tensor '{tensor.name}' is stored in {location[:80]!r}"
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


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """Yield the external tensors of all graphs: initializers, and constants of nodes."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR:
                    if isinstance(tensor := attribute.as_tensor(), ir.ExternalTensor):
                        yield tensor
                elif attribute.type == ir.AttributeType.TENSORS:
                    yield from (
                        t for t in attribute.as_tensors() if isinstance(t, ir.ExternalTensor)
                    )
