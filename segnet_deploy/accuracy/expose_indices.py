"""Expose the pool indices of an exported graph as further outputs, to compare them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes import contract
from segnet_deploy.passes.graph import infer_shapes
from segnet_deploy.passes.lower_unpooling import find_masks, lower_unpooling
from segnet_deploy.passes.sampling_names import SAMPLES
from segnet_deploy.passes.unpooling_pairs import find_pairs
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.types import Array


@dataclass(frozen=True)
class IndexedModel:
    """A model with further outputs: by pooling stage, one index or four masks.

    `values` are the file's own outputs in its order, with the logits instead of a label map.
    `samples` is the output with the log probabilities of a file that samples its dropout.
    """

    model: ir.Model
    values: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    samples: str | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file."""
        ir.save(self.model, path)

    def plane_index(self, stage: int, outputs: dict[str, Array], size: tuple[int, int]) -> Array:
        """Return (N, C, Ho, Wo) int64 indices into the pool's (H, W) input of `size`."""
        arrays = [outputs[name] for name in self.stages[stage]]
        height, width = size
        if len(arrays) == 4:
            code = np.stack(arrays).argmax(0)
            rows = 2 * np.arange(code.shape[2])[:, None] + code // 2
            columns = 2 * np.arange(code.shape[3]) + code % 2
        else:
            # The file pads odd sizes to even ones, or keeps them.
            flat, pooled = arrays[0], arrays[0].shape[2:]
            height, width = _plane(flat, size, pooled)
            rows, columns = np.divmod(flat % (height * width), width)
        index: Array = rows * size[1] + columns
        return index


def expose_indices(path: str | os.PathLike[str], lowered: bool) -> IndexedModel:
    """Read an exported file and expose its indices; `lowered` first lowers it."""
    model = load_model(Path(path))
    ir.external_data.load_to_model(model)  # the copy is saved elsewhere
    if lowered or contract.DOMAIN in model.opset_imports:
        model = lower_unpooling(model).model
    else:
        infer_shapes(model)
    graph = model.graph
    logits = graph.outputs[0]
    producer = logits.producer()
    while producer is not None and producer.op_type in ("Cast", "ArgMax"):
        inner = producer.inputs[0]
        assert inner is not None
        logits, producer = inner, inner.producer()
    if logits.name is None:
        logits.name = "segnet.logits"
    others = graph.outputs[1:]
    stages = _masks(model) or [(p.pool.outputs[1],) for p in find_pairs(graph)]
    names = []
    for stage in stages:
        for value in stage:
            value.type = value.type or ir.TensorType(ir.DataType.INT64)
        names.append(tuple(str(value.name) for value in stage))
    old = graph.outputs[0]
    graph.outputs.clear()
    graph.outputs.extend([logits, *others])
    if old is not logits:
        graph.outputs.append(old)
    graph.outputs.extend([value for stage in stages for value in stage])
    inside = [value for node in graph for value in node.outputs if value.name == SAMPLES]
    graph.outputs.extend(inside)
    values = tuple(str(value.name) for value in (logits, *others))
    return IndexedModel(model, values, tuple(names), SAMPLES if inside else None)


def write_indexed_model(
    path: str | os.PathLike[str], lowered: bool, folder: Path
) -> tuple[IndexedModel, Path]:
    """Write the indexed model of `path` into `folder`; return it and its path."""
    made = expose_indices(path, lowered)
    target = folder / f"indexed-{'lowered' if lowered else 'as-is'}.onnx"
    made.save(target)
    return made, target


def _masks(model: ir.Model) -> list[tuple[ir.Value, ...]]:
    found: dict[int, list[ir.Value]] = {}
    for value in find_masks(model.graph):
        value.type = ir.TensorType(ir.DataType.BOOL)
        found.setdefault(int(str(value.name).split(".")[-2]), []).append(value)
    return [
        tuple(sorted(values, key=lambda value: str(value.name)))
        for _, values in sorted(found.items())
    ]


def _plane(flat: Array, size: tuple[int, int], pooled: tuple[int, ...]) -> tuple[int, int]:
    """Return the size of the planes that flat indices refer to."""
    even = (2 * pooled[0], 2 * pooled[1])
    return (max(even[0], size[0]), max(even[1], size[1]))
