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
from segnet_deploy.passes.build import Builder, constant, infer_shapes, remove_dead, replace
from segnet_deploy.passes.lower import is_lowered

_LEVELS = 127


def to_symmetric(model: ir.Model) -> PassResult:
    """Rewrite every Q/DQ of `model` in place; a file that has none stays as it is.

    Raises UnsupportedModelError where pairs work on uint8 values already (lowered form).
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
    for node, levels in [(node, _levels(node)) for node in quantised]:
        if levels == np.int32:
            _restore_bias(graph, node)
        elif levels == np.uint8:
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


def _restore_bias(graph: ir.Graph, node: ir.Node) -> None:
    levels, step = constant(node.inputs[0]), constant(node.inputs[1])
    assert levels is not None
    assert step is not None
    real = (levels.astype(np.float64) * step).astype(np.float32)
    replace(node.outputs[0], Builder(graph, node).const(real, np.float32))


def _to_int8(
    graph: ir.Graph,
    node: ir.Node,
    shared: dict[tuple[int, int], tuple[ir.Value, ir.Value]],
) -> None:
    scale = node.inputs[1]
    step = constant(scale)
    assert scale is not None
    assert step is not None
    zero = _zero_point(node)
    offset = 0 if zero is None else int(zero.item())
    key = (id(scale), offset)
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
