"""Cost of an ONNX graph in any runtime: multiply-adds, traffic, and memory of pooling indices."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from segnet_deploy.runtimes.base import is_engine_file

DENSE = ("Conv", "ConvTranspose", "MatMul", "Gemm", "QLinearConv", "ConvInteger", "FusedConv")
INDEX_BITS = {"int64": 64, "masks": 32, "plugin": 2}  # per 2x2 window


@dataclass(frozen=True)
class GraphCost:
    """Cost of a file at its own size; None if a shape is dynamic, or for a built engine.

    `index_windows` is the number of 2x2 windows of each pool that is unpooled. `index_kind` is
    how the file stores their indices, int64 (standard form), masks (four booleans per window,
    lowered form) or plugin (2 bits), and `index_bytes` what they occupy.
    """

    gmac: float | None = None
    traffic_bytes: int | None = None
    index_windows: list[int] | None = None
    index_kind: str | None = None
    index_bytes: int | None = None


class DenseWork(NamedTuple):
    """Multiply-adds of the dense operators, and the bytes that they read and write."""

    macs: int
    traffic_bytes: int


def graph_cost(path: str | os.PathLike[str]) -> GraphCost:
    """Return the cost of a file. Raises InputError or UnsupportedModelError."""
    if is_engine_file(path):
        return GraphCost()
    work = dense_work(path)
    shapes, kind = index_shapes(path)
    windows = [math.prod(shape) for shape in shapes if shape is not None]
    is_static = len(windows) == len(shapes)
    return GraphCost(
        gmac=work.macs / 1e9 if work else None,
        traffic_bytes=work.traffic_bytes if work else None,
        index_windows=windows if is_static else None,
        index_kind=kind if windows and is_static else None,
        index_bytes=sum(windows) * INDEX_BITS[kind] // 8 if is_static else None,
    )


def dense_work(path: str | os.PathLike[str]) -> DenseWork | None:
    """Return the work of an ONNX file's convolutions and matrix products.

    Traffic counts what each of them reads and writes, once, in the file's own types. None if a
    shape is dynamic or unknown. Raises InputError.
    """
    from segnet_deploy.runtimes.model_file import load_model

    macs = traffic = 0
    for node in load_model(Path(path)).graph.all_nodes():
        if node.op_type not in DENSE:
            continue
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        shapes = [_static_shape(value) for value in values]
        weights = _static_shape(node.inputs[3 if node.op_type == "QLinearConv" else 1])
        result = _static_shape(node.outputs[0])
        if weights is None or result is None or None in shapes:
            return None
        macs += _macs(node, weights, result)
        for value, shape in zip(values, shapes, strict=True):
            width = value.dtype.itemsize if value.dtype is not None else 4
            traffic += int(math.prod(shape or ()) * width)
    return DenseWork(macs, traffic)


def index_shapes(path: str | os.PathLike[str]) -> tuple[list[tuple[int, ...] | None], str]:
    """Return the output shape of each pool that is unpooled, None if dynamic, and the index kind.

    Raises InputError or UnsupportedModelError.
    """
    from segnet_deploy.passes import contract
    from segnet_deploy.passes.graph import infer_shapes
    from segnet_deploy.passes.lower_unpooling import find_masks
    from segnet_deploy.passes.unpooling_pairs import find_pairs
    from segnet_deploy.runtimes.model_file import load_model

    graph = infer_shapes(load_model(Path(path))).graph
    if pairs := find_pairs(graph):
        kind = "plugin" if any(node.domain == contract.DOMAIN for node in graph) else "int64"
        return [_static_shape(pair.pool.outputs[0]) for pair in pairs], kind
    firsts = [mask for mask in find_masks(graph) if str(mask.name).endswith(".0")]  # one of four
    return [_static_shape(mask) for mask in firsts], "masks"


def _macs(node: Any, weights: tuple[int, ...], result: tuple[int, ...]) -> int:
    if node.op_type == "ConvTranspose":  # each input value meets a kernel of each output channel
        return math.prod(_static_shape(node.inputs[0]) or ()) * math.prod(weights[1:])
    if node.op_type in ("MatMul", "Gemm"):
        transposed = node.op_type == "Gemm" and node.attributes.get_int("transB", 0)
        return math.prod(result) * weights[-1 if transposed else -2]
    return math.prod(result) * math.prod(weights[1:])


def _static_shape(value: Any) -> tuple[int, ...] | None:
    if value.shape is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return tuple(value.shape)
