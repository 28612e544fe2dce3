"""Translate quantised models: convolutions of integers become ncnn's int8 layers.

ncnn's int8 has zero point 0, so uint8 models must be in the symmetric form. A convolution between
DequantizeLinear and QuantizeLinear becomes one layer from integers to integers, and the pools and
unpoolings between two of them work on integers. Everything else that is quantised is computed in
fp32: grouped and transposed convolutions, and layers that ncnn implements for floats only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes.graph import (
    Builder,
    constant,
    int_attribute,
    producer,
    remove_dead,
    replace,
)
from segnet_deploy.runtimes.ncnn.layers import RELU, Layer, geometry, unsupported
from segnet_deploy.types import Array

DOMAIN = "segnet_deploy.ncnn"
_INT8_TAG = np.array([0x000D4B38], np.uint32)  # before an int8 weight
_REQUANTISE, _DEQUANTISE = 101, 1  # to int8, to float
_NO_WINOGRAD = 1 << 6  # a bit of parameter 31, which turns features off
# Winograd's F(4,3) computes 576 times the sum of products in int32.
_WINOGRAD_SUM = (2**31 - 1) // 576
_MARGIN = 4  # between the largest sum that the next scale covers and the limit of F(4,3)
_FLOAT, _INT8 = 1, 3  # ncnn's numbers for types
_FLOAT_ONLY = ("MaxPool", "Slice", "Pad")


def to_integer_layers(model: ir.Model) -> None:
    """Rewrite the convolutions of `model` (symmetric, with integer pairs) in place.

    Raises UnsupportedModelError if a Q/DQ is left that ncnn does not support.
    """
    graph = model.graph
    for node in reversed(list(graph)):
        if node.op_type in _FLOAT_ONLY and not node.domain:
            _compute_in_floats(graph, node)
    for node in list(graph):
        if node.op_type == "Conv" and not node.domain:
            _fuse_quantisation(node)
    remove_dead(model)
    for node in list(graph):
        if node.op_type == "DequantizeLinear":
            _to_floats(graph, node)
    remove_dead(model)


def is_integer(value: ir.Value | None) -> bool:
    """Return whether `value` is quantised."""
    return value is not None and value.dtype in (ir.DataType.INT8, ir.DataType.UINT8)


def _fuse_quantisation(conv: ir.Node) -> None:
    """Let `conv` compute on integers if its input and weights are; include its ReLU and Q."""
    x, weight = (producer(conv.inputs[i], "DequantizeLinear") for i in (0, 1))
    if x is None or weight is None or int_attribute(conv, "group", 1) != 1:
        return
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    levels, steps = constant(weight.inputs[0]), constant(weight.inputs[1])
    if not (_is_symmetric(x) and levels is not None and levels.dtype == np.int8):
        return
    if not _has_zero_point_0(weight) or steps is None:
        return
    if bias is not None and constant(bias) is None:
        return
    if steps.size > 1 and int_attribute(weight, "axis", 1) % levels.ndim != 0:
        return
    has_relu, quantise = _relu_and_quantise(conv.outputs[0])
    conv.domain = DOMAIN
    conv.resize_inputs(6)
    scale = None if quantise is None else quantise.inputs[1]
    inputs = (x.inputs[0], weight.inputs[0], bias, x.inputs[1], weight.inputs[1], scale)
    for index, value in enumerate(inputs):
        conv.replace_input_with(index, value)
    if quantise is not None:
        conv.attributes.add(ir.AttrInt64("relu", int(has_relu)))
        out = quantise.outputs[0]
        conv.outputs[0].type = ir.TensorType(ir.DataType.INT8)
        ir.convenience.replace_all_uses_with(out, conv.outputs[0])


def _relu_and_quantise(value: ir.Value) -> tuple[bool, ir.Node | None]:
    """Return whether a ReLU follows `value`, and the QuantizeLinear that is the only user."""
    relu = _only_user(value, "Relu")
    quantise = _only_user(value if relu is None else relu.outputs[0], "QuantizeLinear")
    if quantise is None or not _is_symmetric(quantise) or quantise.outputs[0].is_graph_output():
        return False, None
    return relu is not None, quantise


def _only_user(value: ir.Value, op_type: str) -> ir.Node | None:
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.op_type != op_type:
        return None
    return uses[0].node


def _has_zero_point_0(node: ir.Node) -> bool:
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    return zero is not None and zero.dtype == np.int8 and not zero.any()


def _is_symmetric(node: ir.Node) -> bool:
    step = constant(node.inputs[1])
    return _has_zero_point_0(node) and step is not None and step.size == 1


def _compute_in_floats(graph: ir.Graph, node: ir.Node) -> None:
    """Let `node`, which ncnn implements for floats only, work on floats again."""
    if not is_integer(node.inputs[0]):
        return
    users = [u.node for u in node.outputs[0].uses() if u.node.op_type == "DequantizeLinear"]
    if not users:
        raise unsupported(node, "integers without DequantizeLinear after it; use the standard form")
    scale = users[0].inputs[1:]
    out, build = node.outputs[0], Builder(graph, node)
    node.replace_input_with(0, build.op("DequantizeLinear", node.inputs[0], *scale))
    if node.op_type == "Pad":
        fill, step = (np.asarray(constant(v)) for v in (node.inputs[2], scale[0]))
        node.replace_input_with(2, build.const(fill * step, np.float32))
    quantise = ir.node("QuantizeLinear", [out, *scale])
    graph.insert_after(node, quantise)
    quantise.outputs[0].type, quantise.outputs[0].shape = out.type, out.shape
    out.type = ir.TensorType(ir.DataType.FLOAT)
    for use in list(out.uses()):
        if use.node is not quantise:
            use.node.replace_input_with(use.idx, quantise.outputs[0])


def _to_floats(graph: ir.Graph, node: ir.Node) -> None:
    """Replace a DequantizeLinear: constants are computed now, other values cast and scaled."""
    build, levels, step = Builder(graph, node), constant(node.inputs[0]), constant(node.inputs[1])
    if step is None or not _has_zero_point_0(node) or (levels is None and step.size > 1):
        raise unsupported(node, "its scale is not constant, or its zero point is not 0")
    if levels is None:
        real = build.op("Cast", node.inputs[0], domain=DOMAIN)
        real.type, real.shape = node.outputs[0].type, node.outputs[0].shape
        result = build.op("Mul", real, build.const(step.reshape(()), np.float32))
    else:
        shape = [1] * levels.ndim
        shape[int_attribute(node, "axis", 1) if step.size > 1 else 0] = step.size
        result = build.const(levels * step.reshape(shape), np.float32)
    replace(node.outputs[0], result)


def _convolution(node: ir.Node) -> Layer:
    weight, x_step, steps = (np.asarray(constant(node.inputs[i])) for i in (1, 3, 4))
    bias = constant(node.inputs[2])
    y_step = constant(node.inputs[5]) if len(node.inputs) > 5 else None
    kind, parameters = geometry(node, weight)
    parameters |= {5: int(bias is not None), 8: _DEQUANTISE if y_step is None else _REQUANTISE}
    if int_attribute(node, "relu", 0):
        parameters[9] = RELU
    if not _suits_winograd(weight, x_step * steps, bias, y_step):
        parameters[31] = _NO_WINOGRAD
    data = np.zeros(-(-weight.size // 4) * 4, np.int8)  # padded to whole words of 4 bytes
    data[: weight.size] = weight.ravel()
    weights: list[Array] = [_INT8_TAG, data]
    if bias is not None:
        weights.append(np.ascontiguousarray(bias, np.float32))
    for scale in (np.broadcast_to(steps, len(weight)), x_step, y_step):
        if scale is not None:
            weights.append(_levels_per_unit(scale))
    return Layer(kind, parameters, weights)


def _levels_per_unit(scale: Array) -> Array:
    """Return 1 / scale, the factor that ncnn multiplies by."""
    return np.asarray(1 / scale, np.float32).reshape(-1)


def _suits_winograd(weight: Array, steps: Array, bias: Array | None, y_step: Array | None) -> bool:
    """Return whether F(4,3) is faster than a matrix product and cannot overflow.

    An overflow would give wrong results. Either no sum can be that large, or it would be far
    beyond the range of the result's scale, which was calibrated on real images.
    """
    if weight.shape[1] < 8 or len(weight) % 4:  # its transforms are scalar there
        return False
    signed = weight.reshape(len(weight), -1).astype(np.int64)
    if 127 * np.abs(signed).sum(1).max() <= _WINOGRAD_SUM:
        return True
    if y_step is None:
        return False
    largest_sum = (127 * y_step + (0 if bias is None else np.abs(bias))) / steps
    return bool(largest_sum.max() * _MARGIN <= _WINOGRAD_SUM)


def _quantise(node: ir.Node) -> Layer:
    step = constant(node.inputs[1])
    if step is None or not _is_symmetric(node):
        raise unsupported(node, "its scale is not constant, or its zero point is not 0")
    return Layer("Quantize", {0: 1}, [_levels_per_unit(step)])


RULES: dict[tuple[str, str], Callable[[ir.Node], Any]] = {
    (DOMAIN, "Conv"): _convolution,
    (DOMAIN, "Cast"): lambda node: Layer("Cast", {0: _INT8, 1: _FLOAT}),
    ("", "QuantizeLinear"): _quantise,
}
