"""The text of Triton's config.pbtxt. Source: Triton's model_config.proto and its documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segnet_deploy.errors import UnsupportedModelError

_TYPES = {
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
}


@dataclass(frozen=True)
class Tensor:
    """An input or output; a dynamic dimension is -1. `kind` is a numpy dtype's name or 'bytes'."""

    name: str
    kind: str
    dims: tuple[int, ...]

    def text(self) -> str:
        """Return its entry."""
        kind = "TYPE_STRING" if self.kind == "bytes" else _TYPES.get(self.kind)
        if kind is None:
            raise UnsupportedModelError(f"'{self.name}' is {self.kind}, which is not served")
        dims = ", ".join(map(str, self.dims))
        return f'{{ name: "{self.name}" data_type: {kind} dims: [ {dims} ] }}'


@dataclass(frozen=True)
class ModelConfig:
    """One model. `max_batch` 0 means that the dims contain the batch.

    `backend` is python, onnxruntime, tensorrt or ensemble. `parameters` are texts by name;
    `extra` is appended as it is.
    """

    name: str
    backend: str
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    max_batch: int = 0
    instances: int = 1
    gpu: bool = False
    queue_delay: float = 0.0
    parameters: Mapping[str, str] = field(default_factory=dict)
    extra: str = ""

    def text(self) -> str:
        """Return the whole file."""
        kind = (
            'platform: "ensemble"' if self.backend == "ensemble" else f'backend: "{self.backend}"'
        )
        blocks = [
            f'name: "{self.name}"',
            kind,
            f"max_batch_size: {self.max_batch}",
            f"input [ {', '.join(tensor.text() for tensor in self.inputs)} ]",
            f"output [ {', '.join(tensor.text() for tensor in self.outputs)} ]",
            "# The newest version serves; the one before ends when the new one is ready.",
            "version_policy { latest { num_versions: 1 } }",
        ]
        if self.backend != "ensemble":
            kind = "KIND_GPU" if self.gpu else "KIND_CPU"
            blocks.append(f"instance_group [ {{ count: {self.instances} kind: {kind} }} ]")
        if self.max_batch > 1 and self.backend != "ensemble":
            delay = round(self.queue_delay * 1e6)
            blocks.append(f"dynamic_batching {{ max_queue_delay_microseconds: {delay} }}")
        for name, value in self.parameters.items():
            blocks.append(
                f"parameters {{ key: {quoted(name)} value {{ string_value: {quoted(value)} }} }}"
            )
        return "\n".join([*blocks, *([self.extra] if self.extra else [])]) + "\n"


def quoted(text: str) -> str:
    """Return `text` as a string of the protobuf text format: JSON's escapes, in ASCII bytes."""
    escaped = text.encode("utf-8").decode("latin-1")
    return json.dumps(escaped, ensure_ascii=False).encode("latin-1").decode("utf-8")


def dims(shape: Sequence[Any]) -> tuple[int, ...]:
    """Return a shape with -1 for its dynamic dimensions."""
    return tuple(-1 if size is None else int(size) for size in shape)


def kind_of(dtype: Any) -> str:
    """Return the name of a numpy dtype."""
    return str(np.dtype(dtype).name)
