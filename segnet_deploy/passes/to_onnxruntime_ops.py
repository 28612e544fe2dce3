"""Rewrite pool/unpool pairs to the operators of this project's library for ONNX Runtime.

This is the plugin form with one difference. ONNX Runtime runs quantised convolutions with channels
last, so pairs of integers also run with channels last, between Transposes that cancel those around
the convolutions. Nothing is requantised: the results equal those of the file's pairs bit for bit.
"""

from __future__ import annotations

import onnx_ir as ir

from segnet_deploy.passes import PassResult, contract
from segnet_deploy.passes.graph import Builder, replace
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.unpooling_pairs import is_channels_last

_INTEGERS = (ir.DataType.UINT8, ir.DataType.INT8)
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def to_onnxruntime_ops(model: ir.Model) -> PassResult:
    """Rewrite every pair of `model` (any form but lowered) in place; return the PassResult.

    A model that is in this form already stays unchanged.
    Raises UnsupportedModelError if a pair cannot be rewritten exactly.
    """
    if any(map(is_channels_last, model.graph)):
        return PassResult(model, 0)
    result = to_form(model, "plugin")
    graph = result.model.graph
    ops = [node for node in graph if node.domain == contract.DOMAIN]
    integer_ops = [n for n in ops if n.inputs[0] is not None and n.inputs[0].dtype in _INTEGERS]
    for node in integer_ops:
        _put_channels_last(graph, node)
    notes = (*result.notes, f"{len(integer_ops)} of {len(ops)} on integers")
    return PassResult(result.model, result.changed, notes)


def _put_channels_last(graph: ir.Graph, node: ir.Node) -> None:
    """Let `node` work on (N, H, W, C), between two Transposes; its codes keep their layout."""
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
