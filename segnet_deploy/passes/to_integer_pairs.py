"""Let pools, unpoolings and other operators that only move values work on integers.

DequantizeLinear -> MaxPool -> QuantizeLinear with one scale orders and copies the same values as a
MaxPool of the integers, so the two conversions are removed. Files in the standard form keep the
floats, since runtimes implement MaxUnpool for floats only; the lowered and plugin forms start from
the result of this pass.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import Builder, constant, producer, remove_dead, replace
from segnet_deploy.types import Array

MOVING = ("MaxPool", "MaxUnpool", "Pad", "Slice", "Identity")


def to_integer_pairs(model: ir.Model) -> PassResult:
    """Rewrite `model` in place; a model without Q/DQ stays unchanged. Returns the PassResult."""
    changed = [node.name for node in list(model.graph) if _rewrite(model.graph, node)]
    if changed:
        model = remove_dead(model)
    return PassResult(model, len(changed), tuple(f"integers in '{name}'" for name in changed))


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    if node.domain or node.op_type not in MOVING:
        return False
    """Rewrite DequantizeLinear -> `node` -> QuantizeLinear; return whether that was possible."""
    dequantise, out = producer(node.inputs[0], "DequantizeLinear"), node.outputs[0]
    users = list(out.uses())
    if dequantise is None or len(users) != 1 or out.is_graph_output():
        return False
    quantise = users[0].node
    if quantise.op_type != "QuantizeLinear" or not _have_same_scale(dequantise, quantise):
        return False
    zero = constant(dequantise.inputs[2])
    assert zero is not None
    if node.op_type == "MaxUnpool" and zero.any():
        return False  # it fills with 0, which is not the integer of the real number 0
    if node.op_type == "Pad" and not _quantise_fill(Builder(graph, node), node, dequantise, zero):
        return False
    node.replace_input_with(0, dequantise.inputs[0])
    result = quantise.outputs[0]
    out.type = result.type or ir.TensorType(ir.DataType.from_numpy(zero.dtype))
    replace(result, out)
    graph.remove(quantise, safe=True)
    return True


def _have_same_scale(one: ir.Node, other: ir.Node) -> bool:
    """Return whether two Q/DQ nodes share one scale and zero point for the whole tensor."""
    for index in (1, 2):
        if len(one.inputs) <= index or len(other.inputs) <= index:
            return False
        a, b = constant(one.inputs[index]), constant(other.inputs[index])
        if a is None or b is None or a.size != 1 or b.size != 1 or a.dtype != b.dtype or a != b:
            return False
    return True


def _quantise_fill(build: Builder, pad: ir.Node, dequantise: ir.Node, zero: Array) -> bool:
    """Quantise the value that `pad` fills with; return False if no integer equals it."""
    value = constant(pad.inputs[2]) if len(pad.inputs) > 2 else None
    real, step = 0.0 if value is None else float(value.item()), constant(dequantise.inputs[1])
    assert step is not None
    limits = np.iinfo(zero.dtype)
    level = np.clip(real / float(step) + int(zero), limits.min, limits.max)
    if level != round(float(level)):
        return False
    if len(pad.inputs) < 3:
        pad.resize_inputs(3)
    pad.replace_input_with(2, build.const(level, zero.dtype))
    return True
