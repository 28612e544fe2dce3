"""Pool/unpool pairs -> the plugin's op pair as ONNX Runtime's operator library runs it.

Between DequantizeLinear and QuantizeLinear of one shared scale the pair moves quantised values
as they are: nothing is requantised, and what the file's own pair would give is given bit for
bit. ONNX Runtime runs quantised convolutions with channels last; so do quantised pairs, with
Transposes that cancel those around the convolutions.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes import PassResult, contract
from segnet_deploy.passes.build import Builder, constant, producer, remove_dead, replace
from segnet_deploy.passes.plugin import to_plugin

_MOVING = ("MaxPool", "MaxUnpool", "Pad", "Slice")
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def to_onnxruntime_ops(model: ir.Model) -> PassResult:
    """Rewrite every pair of `model` (standard or plugin form) in place.

    Raises UnsupportedModelError where a pair cannot be rewritten exactly.
    """
    for node in list(model.graph):
        if node.op_type == "DequantizeLinear":
            _skip_requantising(node)
    result = to_plugin(remove_dead(model))
    graph = result.model.graph
    ops = [node for node in graph if node.domain == contract.DOMAIN]
    quantised = [node for node in ops if _keep_quantised(graph, node)]
    for node in quantised:
        _put_channels_last(graph, node)
    notes = (*result.notes, f"{len(quantised)} of {len(ops)} on quantised values")
    return PassResult(remove_dead(result.model), result.changed, notes)


def _skip_requantising(dequantize: ir.Node) -> None:
    """Take Q/DQ out where they follow a pool, an unpooling, a pad or a slice of their own scale."""
    quantize = producer(dequantize.inputs[0], "QuantizeLinear")
    source = quantize.inputs[0] if quantize is not None else None
    if quantize is None or source is None or not _same_scale(quantize, dequantize):
        return
    node = source.producer()
    moved = False
    while node is not None and node.op_type in _MOVING and node.domain == "":
        moved, inner = True, node.inputs[0]
        node = inner.producer() if inner is not None else None
    of_quantised = moved and node is not None and node.op_type == "DequantizeLinear"
    if of_quantised and node is not None and _same_scale(node, dequantize):
        replace(dequantize.outputs[0], source)


def _same_scale(first: ir.Node, second: ir.Node) -> bool:
    """Tell whether two nodes have one scalar scale and one zero point."""
    for index in (1, 2):
        mine, other = (n.inputs[index] if len(n.inputs) > index else None for n in (first, second))
        if mine is other:
            continue
        a, b = constant(mine), constant(other)
        if a is None or b is None or a.dtype != b.dtype or a.size != 1 or not (a == b).all():
            return False
    return True


def _keep_quantised(graph: ir.Graph, node: ir.Node) -> bool:
    """Move the DequantizeLinear before `node` behind it, where that changes no value."""
    dequantize = producer(node.inputs[0], "DequantizeLinear")
    if dequantize is None:
        return False
    values, scale = dequantize.inputs[0], constant(dequantize.inputs[1])
    zero = constant(dequantize.inputs[2]) if len(dequantize.inputs) > 2 else np.zeros(1)
    if values is None or scale is None or scale.size != 1 or not scale > 0:
        return False
    if zero is None or (node.op_type == contract.UNPOOL and zero.any()):
        return False  # an unpooling fills with 0, which has to be the value 0
    if values.dtype not in (ir.DataType.UINT8, ir.DataType.INT8):
        return False
    out = node.outputs[0]
    node.replace_input_with(0, values)
    moved = ir.node("DequantizeLinear", [out, *dequantize.inputs[1:]])
    moved.outputs[0].type, moved.outputs[0].shape = out.type, out.shape
    graph.insert_after(node, moved)
    replace(out, moved.outputs[0])
    moved.replace_input_with(0, out)
    out.type = ir.TensorType(values.dtype)
    return True


def _put_channels_last(graph: ir.Graph, node: ir.Node) -> None:
    """Run `node` on (N, H, W, C), between two Transposes; its codes keep their layout."""
    source, out = node.inputs[0], node.outputs[0]
    assert source is not None
    node.replace_input_with(0, Builder(graph, node).op("Transpose", source, perm=_TO_LAST))
    node.attributes["channels_last"] = ir.AttrInt64("channels_last", 1)
    back = ir.node("Transpose", [out], {"perm": _TO_FIRST})
    back.outputs[0].type, back.outputs[0].shape = out.type, out.shape
    graph.insert_after(node, back)
    replace(out, back.outputs[0])
    back.replace_input_with(0, out)
    if out.shape is not None:
        out.shape = ir.Shape([out.shape[axis] for axis in _TO_LAST])
