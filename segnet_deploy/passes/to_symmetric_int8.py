"""Rewrite uint8 Q/DQ to int8 with zero point 0 and float biases, as TensorRT's parser requires.

The range that a scale covers stays the same: the step becomes step * 255 / 127 if the zero point
is 0. A value that is never negative loses half of its levels, so the uint8 file is better for CPUs.
Nodes that share a scale still share one afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult, contract
from segnet_deploy.passes.graph import (
    Builder,
    constant,
    infer_shapes,
    int_attribute,
    producer,
    remove_dead,
    replace,
    walk_back,
)
from segnet_deploy.passes.lower_unpooling import is_lowered
from segnet_deploy.passes.to_integer_pairs import MOVING
from segnet_deploy.passes.unpooling_pairs import is_non_negative
from segnet_deploy.types import Array

_LEVELS = 127


def to_symmetric_int8(model: ir.Model) -> PassResult:
    """Rewrite every Q/DQ of `model` in place; a model without any stays unchanged.

    Constant uint8 levels keep their real numbers. Returns the PassResult. Raises
    UnsupportedModelError if lowered pairs already work on uint8, or, naming the node, for a value
    that is not constant and has one scale per channel, or another scale than it was quantised with.
    """
    graph = model.graph
    shared: dict[tuple[int, int], tuple[ir.Value, ir.Value]] = {}
    changed = 0
    quantised = [
        node
        for node in graph
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and not node.domain
    ]
    if is_lowered(model) and any(_integer_type(node) == np.uint8 for node in quantised):
        raise UnsupportedModelError(
            "the pairs of this lowered INT8 file work on uint8, which TensorRT does not support: "
            "start from the standard form"
        )
    for node in quantised:
        _check_origin(node)
    # All types are read before the first change: a DequantizeLinear may read one from its input.
    for node, dtype in [(node, _integer_type(node)) for node in quantised]:
        levels = constant(node.inputs[0]) if node.op_type == "DequantizeLinear" else None
        if dtype == np.int32 and levels is not None:
            _to_floats(graph, node, levels)
        elif dtype == np.uint8 and levels is not None:
            _recentre(graph, node, levels)
        elif dtype == np.uint8:
            _to_int8(graph, node, shared)
        else:
            continue
        changed += 1
    if changed:
        _update_types(graph)
        model = infer_shapes(remove_dead(model))
    return PassResult(model, changed, (f"{changed} Q/DQ for TensorRT",) if changed else ())


def _update_types(graph: ir.Graph) -> None:
    """Give what only moves int8 values that type: shapes are not inferred from a wrong type."""
    for node in graph:
        moves = node.op_type in (*MOVING, contract.POOL, contract.UNPOOL)
        source = node.inputs[0] if moves else None
        if source is not None and source.dtype == ir.DataType.INT8:
            node.outputs[0].type = ir.TensorType(ir.DataType.INT8)


def _zero_point(node: ir.Node) -> Array | None:
    return constant(node.inputs[2]) if len(node.inputs) > 2 else None


def _integer_type(node: ir.Node) -> np.dtype[Any]:
    """Return the type of the integers: the zero point's, or ONNX's default if it is omitted."""
    if (zero := _zero_point(node)) is not None:
        return zero.dtype
    value = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    dtype = value.dtype if value is not None else None
    return np.dtype(np.uint8) if dtype is None else dtype.numpy()


def _check_origin(node: ir.Node) -> None:
    """Check that a DequantizeLinear of uint8 has the scale of the QuantizeLinear that it undoes."""
    if node.op_type != "DequantizeLinear" or _integer_type(node) != np.uint8:
        return
    if constant(node.inputs[0]) is not None:
        return
    moving = (*MOVING, contract.POOL, contract.UNPOOL)
    origin = producer(walk_back(node.inputs[0], moving), "QuantizeLinear")
    if origin is None:
        raise _refusal(node, "it reads integers that no QuantizeLinear computes")
    zeros = [_zero_point(n) if _zero_point(n) is not None else 0 for n in (node, origin)]
    if not np.array_equal(_step(node), _step(origin)) or not np.all(zeros[0] == zeros[1]):
        raise _refusal(node, f"its scale or zero point is not that of '{origin.name}'")


def _to_floats(graph: ir.Graph, node: ir.Node, levels: Array) -> None:
    """Replace a DequantizeLinear of constant `levels` with zero point 0 by a float constant."""
    step = _along_axis(node, _step(node), levels.ndim)
    real = (levels.astype(np.float64) * step).astype(np.float32)
    replace(node.outputs[0], Builder(graph, node).const(real, np.float32))


def _recentre(graph: ir.Graph, node: ir.Node, levels: Array) -> None:
    """Shift constant uint8 `levels` to int8 with zero point 0, or to floats if they do not fit."""
    if (zero := _zero_point(node)) is not None:
        levels = levels - _along_axis(node, zero.astype(np.int16), levels.ndim)
    if levels.min(initial=0) < -_LEVELS - 1 or levels.max(initial=0) > _LEVELS:
        _to_floats(graph, node, levels)
        return
    build = Builder(graph, node)
    node.resize_inputs(3)
    node.replace_input_with(0, build.const(levels, np.int8))
    node.replace_input_with(2, build.const(np.zeros(_step(node).shape), np.int8))


def _along_axis(node: ir.Node, values: Array, axes: int) -> Array:
    """Reshape one value, or one per channel, to broadcast against levels with `axes` axes."""
    shape = [1] * axes
    if values.size > 1:
        shape[int_attribute(node, "axis", 1) if axes > 1 else 0] = values.size
    return values.reshape(shape)


def _step(node: ir.Node) -> Array:
    step = constant(node.inputs[1])
    if step is None:
        raise _refusal(node, "its scale is not constant")
    return step


def _refusal(node: ir.Node, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{node.op_type} '{node.name}' has no symmetric form: {why}")


def _to_int8(
    graph: ir.Graph,
    node: ir.Node,
    shared: dict[tuple[int, int], tuple[ir.Value, ir.Value]],
) -> None:
    """Give `node` an int8 scale and zero point, the same as other nodes with its uint8 ones."""
    step, zero = _step(node), _zero_point(node)
    if step.size > 1 or (zero is not None and zero.size > 1):
        raise _refusal(node, f"{step.size} scales of a value that is not constant; expected one")
    offset = 0 if zero is None else int(zero.item())
    value = node.inputs[0]
    if node.op_type == "QuantizeLinear" and not offset and not is_non_negative(value):
        # Levels of uint8 from 0 cut off what is negative: many quantisers omit the ReLU before.
        assert value is not None
        relu = Builder(graph, node).op("Relu", value)
        relu.type, relu.shape = value.type, value.shape
        node.replace_input_with(0, relu)
    key = (id(node.inputs[1]), offset)
    if key not in shared:
        build = Builder(graph, node)
        wider = np.asarray(step * max(offset, 255 - offset) / _LEVELS, np.float32)
        shared[key] = (build.const(wider, np.float32), build.const(0, np.int8))
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    for index, number in enumerate(shared[key], start=1):
        node.replace_input_with(index, number)
    if node.op_type == "QuantizeLinear":
        node.outputs[0].type = ir.TensorType(ir.DataType.INT8)
