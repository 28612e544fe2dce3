"""Fold batch normalisation into the convolution before it.

The products are computed in float64 and rounded once, so that results differ from those of two
steps only in their last bits.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import (
    add_initializer,
    constant,
    int_attribute,
    remove_dead,
    replace,
)
from segnet_deploy.types import Array


def fold_batch_norm(model: ir.Model) -> PassResult:
    """Fold every BatchNormalization that alone reads a convolution, in place."""
    changed = [node for node in list(model.graph) if _fold(model.graph, node)]
    return PassResult(remove_dead(model), len(changed))


def _fold(graph: ir.Graph, node: ir.Node) -> bool:
    """Fold `node` and return True, or return False if it cannot be folded."""
    if node.op_type != "BatchNormalization" or node.domain or len(node.outputs) != 1:
        return False
    source = node.inputs[0]
    conv = source.producer() if source is not None else None
    if conv is None or conv.op_type not in ("Conv", "ConvTranspose") or conv.domain:
        return False
    assert source is not None
    group = int_attribute(conv, "group", 1)
    if len(source.uses()) != 1 or source.is_graph_output():
        return False
    if conv.op_type == "ConvTranspose" and group != 1:
        return False
    parameters = [constant(value) for value in node.inputs[1:5]]
    weight = constant(conv.inputs[1])
    bias = constant(conv.inputs[2]) if len(conv.inputs) > 2 else None
    has_bias = len(conv.inputs) > 2 and conv.inputs[2] is not None
    if weight is None or any(p is None for p in parameters) or has_bias != (bias is not None):
        return False
    factor, term = _factor_and_term(node, parameters)
    axis = 0 if conv.op_type == "Conv" else 1
    column = factor.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    new_bias = term + (0 if bias is None else bias.astype(np.float64) * factor)
    operands = {"weight": weight.astype(np.float64) * column, "bias": new_bias}
    inputs = [
        add_initializer(
            graph, _new_name(graph, f"{conv.name}.folded_{what}"), array.astype(weight.dtype)
        )
        for what, array in operands.items()
    ]
    conv.replace_input_with(1, inputs[0])
    conv.resize_inputs(3)
    conv.replace_input_with(2, inputs[1])
    replace(node.outputs[0], source)
    graph.remove(node, safe=True)
    return True


def _factor_and_term(node: ir.Node, parameters: list[Array | None]) -> tuple[Array, Array]:
    """Return what `node` multiplies each channel by, and adds then, as float64."""
    scale, shift, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    epsilon = node.attributes.get("epsilon")
    factor = scale / np.sqrt(variance + (1e-5 if epsilon is None else epsilon.as_float()))
    return factor, shift - mean * factor


def _new_name(graph: ir.Graph, name: str) -> str:
    while name in graph.initializers:
        name += "_"
    return name
