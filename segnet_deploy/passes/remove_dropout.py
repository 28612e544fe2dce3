"""Remove Dropout nodes that return their input, as all do outside of training.

Between a DequantizeLinear and a QuantizeLinear they would separate the two, which ends OpenVINO's
process.
"""

from __future__ import annotations

import onnx_ir as ir

from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import constant, replace


def remove_dropout(model: ir.Model) -> PassResult:
    """Remove the Dropouts of `model` in place; return the PassResult.

    One in training mode, whose mask is used, or that is an output of the graph, stays.
    """
    found = [node for node in model.graph if _returns_its_input(node)]
    for node in found:
        source = node.inputs[0]
        assert source is not None
        replace(node.outputs[0], source)
        model.graph.remove(node, safe=True)
    return PassResult(model, len(found))


def _returns_its_input(node: ir.Node) -> bool:
    if (node.domain, node.op_type) != ("", "Dropout") or node.outputs[0].is_graph_output():
        return False
    if any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:]):
        return False
    training = node.inputs[2] if len(node.inputs) > 2 else None
    mode = constant(training)
    return training is None or (mode is not None and not mode.any())
