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
from segnet_deploy.passes.unpooling_pairs import unpool_size
from segnet_deploy.types import Size


def check_shapes(model: ir.Model) -> None:
    """Infer the shapes of `model` in place. Raises UnsupportedModelError if they contradict."""
    plugin = [node for node in model.graph if node.domain == contract.DOMAIN]
    paired = [*plugin, *(node for node in model.graph if node.op_type == "MaxUnpool")]
    for node in plugin:
        _check_plugin_node(node)
    values = [v for n in model.graph for v in n.outputs if not v.is_graph_output()]
    recorded = [(value, value.shape) for value in values]
    for value in values:  # onnx believes what is recorded after an operator that it does not know
        value.shape = None
    contradiction = shape_contradiction(infer_shapes(model))
    new = 1
    while new and not contradiction:
        new = sum(_infer_pair_node(node) for node in paired)
        contradiction = shape_contradiction(infer_shapes(model)) if new else ""
    contradiction = contradiction or _wrong_channels(model)
    for value, shape in recorded:
        value.shape = value.shape or shape
    if contradiction:
        raise UnsupportedModelError(f"its shapes do not fit together: {contradiction[:200]}")
    for node in plugin:
        _check_plugin_node(node)


def _wrong_channels(model: ir.Model) -> str:
    """Return which layer has weights for another number of channels, which onnx does not check."""
    for node in model.graph:
        kinds = {"Conv": (1, 1), "ConvTranspose": (1, 0), "BatchNormalization": (1, 0)}
        if node.domain or node.op_type not in kinds:
            continue
        position, axis = kinds[node.op_type]
        values, weights = node.inputs[0], node.inputs[position]
        shapes = [None if value is None else value.shape for value in (values, weights)]
        if shapes[0] is None or shapes[1] is None or len(shapes[0]) < 2:
            continue
        group = int_attribute(node, "group", 1) if node.op_type == "Conv" else 1
        read, known = shapes[0][1], shapes[1][axis]
        if isinstance(read, int) and isinstance(known, int) and read != known * group:
            return (
                f"{node.op_type} '{node.name}' reads {read} channels, but its weights are for "
                f"{known * group}"
            )
    return ""


def _infer_pair_node(node: ir.Node) -> bool:
    """Record the shape that a pool or unpooling gives; return whether it was not known before.

    onnx infers neither the plugin's operators nor a MaxUnpool with an output_shape.
    """
    values, result = node.inputs[0], node.outputs[0]
    if values is None or values.shape is None or len(values.shape) != 4 or result.shape is not None:
        return False
    size: Size | None
    if node.op_type == contract.POOL:
        size = static_size(values)
        size = None if size is None else _half(size, int_attribute(node, "ceil_mode", 0))
    else:
        size = unpool_size(node)
    if size is None:
        return False
    result.shape = ir.Shape([values.shape[0], values.shape[1], *size])
    return True


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
