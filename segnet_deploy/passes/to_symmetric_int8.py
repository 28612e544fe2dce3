"""uint8 Q/DQ -> int8 with zero point 0 and float biases: what TensorRT's parser takes.

The range that a scale covers stays the same: step * 255 / 127 where the zero point is 0. Half
of the levels of a value that is never negative are lost; CPUs are better off with the uint8
file. One scale per ReLU output stays one scale.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import (
    Builder,
    constant,
    infer_shapes,
    int_attribute,
    remove_dead,
    replace,
)
from segnet_deploy.passes.lower_unpooling import is_lowered

_LEVELS = 127


def to_symmetric_int8(model: ir.Model) -> PassResult:
    """Rewrite every Q/DQ of `model` in place; a file that has none stays as it is.

    Constant uint8 levels keep their numbers. Raises UnsupportedModelError where pairs work on
    uint8 values already (lowered form), and, naming the node, for scales by channel of a value
    that is no constant.
    """
    graph = model.graph
    shared: dict[tuple[int, int], tuple[ir.Value, ir.Value]] = {}
    changed = 0
    quantised = [
        node
        for node in graph
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and not node.domain
    ]
    if is_lowered(model) and any(_levels(node) == np.uint8 for node in quantised):
        raise UnsupportedModelError(
            "the pairs of this lowered INT8 file work on uint8, which TensorRT does not take: "
            "start from the standard form"
        )
    # All types before the first change, since a DequantizeLinear may read one from its input.
    for node, dtype in [(node, _levels(node)) for node in quantised]:
        levels = constant(node.inputs[0]) if node.op_type == "DequantizeLinear" else None
        if dtype == np.int32 and levels is not None:
            _restore(graph, node, levels)
        elif dtype == np.uint8 and levels is not None:
            _recentre(graph, node, levels)
        elif dtype == np.uint8:
            _to_int8(graph, node, shared)
        else:
            continue
        changed += 1
    if changed:
        model = infer_shapes(remove_dead(model))
    return PassResult(model, changed, (f"{changed} Q/DQ for TensorRT",) if changed else ())


def _zero_point(node: ir.Node) -> np.ndarray | None:
    return constant(node.inputs[2]) if len(node.inputs) > 2 else None


def _levels(node: ir.Node) -> np.dtype:
    """Return the integers' type: the zero point's, or what ONNX says where there is none."""
    if (zero := _zero_point(node)) is not None:
        return zero.dtype
    value = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    dtype = value.dtype if value is not None else None
    return np.dtype(np.uint8) if dtype is None else dtype.numpy()


def _restore(graph: ir.Graph, node: ir.Node, levels: np.ndarray) -> None:
    """Replace a DequantizeLinear of the constant `levels`, zero point 0, by floats."""
    step = _along_axis(node, _step(node), levels.ndim)
    real = (levels.astype(np.float64) * step).astype(np.float32)
    replace(node.outputs[0], Builder(graph, node).const(real, np.float32))


def _recentre(graph: ir.Graph, node: ir.Node, levels: np.ndarray) -> None:
    """Bring constant uint8 `levels` to zero point 0: the same numbers, as floats if they must."""
    if (zero := _zero_point(node)) is not None:
        levels = levels - _along_axis(node, zero.astype(np.int16), levels.ndim)
    if levels.min(initial=0) < -_LEVELS - 1 or levels.max(initial=0) > _LEVELS:
        _restore(graph, node, levels)
        return
    build = Builder(graph, node)
    node.resize_inputs(3)
    node.replace_input_with(0, build.const(levels, np.int8))
    node.replace_input_with(2, build.const(np.zeros(_step(node).shape), np.int8))


def _along_axis(node: ir.Node, values: np.ndarray, axes: int) -> np.ndarray:
    """Return one number, or one for each channel, shaped to go with levels of so many `axes`."""
    shape = [1] * axes
    if values.size > 1:
        shape[int_attribute(node, "axis", 1) if axes > 1 else 0] = values.size
    return values.reshape(shape)


def _step(node: ir.Node) -> np.ndarray:
    step = constant(node.inputs[1])
    if step is None:
        raise _refusal(node, "its scale is no constant")
    return step


def _refusal(node: ir.Node, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{node.op_type} '{node.name}' has no symmetric form: {why}")


def _to_int8(
    graph: ir.Graph,
    node: ir.Node,
    shared: dict[tuple[int, int], tuple[ir.Value, ir.Value]],
) -> None:
    step, zero = _step(node), _zero_point(node)
    if step.size > 1 or (zero is not None and zero.size > 1):
        raise _refusal(node, f"{step.size} scales of a value that is no constant; expected one")
    offset = 0 if zero is None else int(zero.item())
    key = (id(node.inputs[1]), offset)
    if key not in shared:
        build = Builder(graph, node)
        wider = np.asarray(step * max(offset, 255 - offset) / _LEVELS, np.float32)
        shared[key] = (build.const(wider, np.float32), build.const(0, np.int8))
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    for index, value in enumerate(shared[key], start=1):
        node.replace_input_with(index, value)
    if node.op_type == "QuantizeLinear":
        node.outputs[0].type = ir.TensorType(ir.DataType.INT8)
