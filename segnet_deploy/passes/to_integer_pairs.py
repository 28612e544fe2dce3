"""Quantised files: pools, unpoolings and what only moves values work on the integers.

DequantizeLinear -> MaxPool -> QuantizeLinear with one scale orders and copies the same
values as a MaxPool of the integers, so the two conversions go. The standard operators stay
floats in the file (runtimes have MaxUnpool in float only); the lowered and the plugin form
start from this.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import Builder, constant, producer, remove_dead, replace

_MOVING = ("MaxPool", "MaxUnpool", "Pad", "Slice", "Identity")


def to_integer_pairs(model: ir.Model) -> PassResult:
    """Rewrite `model` in place; a model without Q/DQ stays as it is."""
    changed = [node.name for node in list(model.graph) if _rewrite(model.graph, node)]
    if changed:
        model = remove_dead(model)
    return PassResult(model, len(changed), tuple(f"integers in '{name}'" for name in changed))


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    if node.domain or node.op_type not in _MOVING:
        return False
    before, out = producer(node.inputs[0], "DequantizeLinear"), node.outputs[0]
    users = list(out.uses())
    if before is None or len(users) != 1 or out.is_graph_output():
        return False
    after = users[0].node
    if after.op_type != "QuantizeLinear" or not _same_scale(before, after):
        return False
    zero = constant(before.inputs[2])
    assert zero is not None
    if node.op_type == "MaxUnpool" and zero.any():
        return False  # it fills with 0, which is another integer there
    if node.op_type == "Pad" and not _quantise_pad(Builder(graph, node), node, before, zero):
        return False
    node.replace_input_with(0, before.inputs[0])
    result = after.outputs[0]
    out.type = result.type or ir.TensorType(ir.DataType.from_numpy(zero.dtype))
    replace(result, out)
    graph.remove(after, safe=True)
    return True


def _same_scale(one: ir.Node, other: ir.Node) -> bool:
    """Tell whether two Q/DQ nodes have one scale and zero point, of the whole tensor."""
    for index in (1, 2):
        if len(one.inputs) <= index or len(other.inputs) <= index:
            return False
        a, b = constant(one.inputs[index]), constant(other.inputs[index])
        if a is None or b is None or a.size != 1 or a.dtype != b.dtype or a != b:
            return False
    return True


def _quantise_pad(build: Builder, node: ir.Node, scale: ir.Node, zero: np.ndarray) -> bool:
    value, step = constant(node.inputs[2]) if len(node.inputs) > 2 else None, scale.inputs[1]
    real, step_array = 0.0 if value is None else float(value.item()), constant(step)
    assert step_array is not None
    limits = np.iinfo(zero.dtype)
    level = np.clip(real / float(step_array) + int(zero), limits.min, limits.max)
    if level != round(float(level)):
        return False
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, build.const(level, zero.dtype))
    return True
