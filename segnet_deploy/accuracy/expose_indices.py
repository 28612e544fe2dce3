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
    """A model with further outputs: by pooling stage, one index, or a mask for each element.

    `values` are the file's own outputs in its order, with the logits instead of a label map.
    `kernels` has the windows of each stage with an index. `samples` is the output with the log
    probabilities of a file that samples its dropout.
    """

    model: ir.Model
    values: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    samples: str | None = None
    kernels: tuple[tuple[int, int], ...] = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file."""
        ir.save(self.model, path)

    def plane_index(self, stage: int, outputs: dict[str, Array], size: tuple[int, int]) -> Array:
        """Return (N, C, Ho, Wo) int64 indices into the pool's (H, W) input of `size`."""
        arrays = [outputs[name] for name in self.stages[stage]]
        height, width = size
        if len(arrays) > 1:
            code = np.stack(arrays).argmax(0)
            down, across = _kernel(len(arrays), size, code.shape[2:])
            rows = down * np.arange(code.shape[2])[:, None] + code // across
            columns = across * np.arange(code.shape[3]) + code % across
        else:
            # The file pads odd sizes to even ones, or keeps them.
            flat, pooled = arrays[0], arrays[0].shape[2:]
            height, width = _plane(self.kernels[stage], size, pooled)
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
    pairs = find_pairs(graph, any_window=True)
    stages = _masks(model) or [(p.pool.outputs[1],) for p in pairs]
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
    kernels = tuple(pair.kernel for pair in pairs)
    return IndexedModel(model, values, tuple(names), SAMPLES if inside else None, kernels)


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
        tuple(sorted(values, key=lambda value: int(str(value.name).split(".")[-1])))
        for _, values in sorted(found.items())
    ]


def _kernel(count: int, size: tuple[int, int], pooled: tuple[int, ...]) -> tuple[int, int]:
    """Return the windows of `count` elements by which an input of `size` becomes `pooled`."""
    for down in range(1, count + 1):
        across = count // down
        if down * across == count and (size[0] // down, size[1] // across) == pooled:
            return down, across
    return 2, 2  # of an odd size in ceil mode


def _plane(
    kernel: tuple[int, int], size: tuple[int, int], pooled: tuple[int, ...]
) -> tuple[int, int]:
    """Return the size of the planes that flat indices refer to: the input's, or padded to even."""
    return (max(kernel[0] * pooled[0], size[0]), max(kernel[1] * pooled[1], size[1]))
