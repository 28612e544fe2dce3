"""Check that the shapes of a model fit together: ncnn's layers trust theirs, and would crash."""

from __future__ import annotations

import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import contract
from segnet_deploy.passes.graph import (
    infer_shapes,
    int_attribute,
    producer,
    shape_contradiction,
    static_size,
)
from segnet_deploy.types import Size


def check_shapes(model: ir.Model) -> None:
    """Infer the shapes of `model` in place. Raises UnsupportedModelError if they contradict."""
    values = [v for n in model.graph if not n.domain for v in n.outputs if not v.is_graph_output()]
    recorded = [(value, value.shape) for value in values]
    for value in values:  # after a plugin's operator onnx believes what is recorded
        value.shape = None
    contradiction = shape_contradiction(infer_shapes(model))
    for value, shape in recorded:
        value.shape = value.shape or shape
    if contradiction:
        raise UnsupportedModelError(f"its shapes do not fit together: {contradiction[:200]}")
    for node in model.graph:
        if node.domain == contract.DOMAIN:
            _check_plugin_node(node)


def _check_plugin_node(node: ir.Node) -> None:
    """Compare what the file records of a node of the plugin, which onnx cannot infer."""
    is_pool = node.op_type == contract.POOL
    pool = node if is_pool else producer(node.inputs[1], contract.POOL)
    if pool is None:
        return  # refused where it is translated
    source, pooled = pool.inputs[0], pool.outputs[0]
    size = None if source is None else static_size(source)
    if size is None:
        return
    half = _half(size, int_attribute(pool, "ceil_mode", 0))
    values = pooled if is_pool else node.inputs[0]
    wanted = [(values, half)] if is_pool else [(values, half), (node.outputs[0], size)]
    for value, expected in wanted:
        if value is not None and static_size(value) not in (None, expected):
            raise UnsupportedModelError(
                f"{node.op_type} '{node.name}': '{value.name}' is {value.shape}, but its pool "
                f"reads {size[0]}x{size[1]}"
            )


def _half(size: Size, ceil_mode: int) -> Size:
    return (size[0] + ceil_mode) // 2, (size[1] + ceil_mode) // 2
