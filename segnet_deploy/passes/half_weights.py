"""Store weights in fp16 and compute in fp32: half the file, and the same graph in every runtime.

A stored weight is an fp16 initializer and a Cast to fp32, as OpenVINO's own compressed files have
it. Reading a file removes the Casts, so that passes and runtimes only see fp32 weights; an fp16
number is exact in fp32.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import add_initializer, constant

_SMALLEST = 256  # elements; below, a Cast takes more bytes than it saves


def compress_weights(model: ir.Model) -> PassResult:
    """Store the large fp32 weights of `model` in fp16, in place: rounded, unless out of range.

    Return the PassResult; `changed` counts the weights.
    """
    changed = 0
    for value in list(model.graph.initializers.values()):
        if value.dtype != ir.DataType.FLOAT or value.shape is None:
            continue
        if math.prod(value.shape.numpy()) < _SMALLEST:
            continue
        weights = constant(value)
        assert weights is not None
        if np.abs(weights).max() > np.finfo(np.float16).max:
            continue
        half = add_initializer(model.graph, f"{value.name}_fp16", weights.astype(np.float16))
        cast = ir.node("Cast", [half], {"to": int(ir.DataType.FLOAT)})
        cast.outputs[0].type, cast.outputs[0].shape = value.type, value.shape
        cast.outputs[0].name = value.name
        model.graph.insert_before(model.graph[0], cast)
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        model.graph.initializers.pop(str(value.name))
        changed += 1
    return PassResult(model, changed)


def expand_weights(model: ir.Model) -> PassResult:
    """Replace each Cast of an fp16 weight to fp32 by the fp32 weight, in place.

    Return the PassResult; `changed` counts the weights.
    """
    changed = 0
    for node in list(model.graph):
        stored = node.inputs[0] if node.op_type == "Cast" and not node.domain else None
        if stored is None or not _is_weight(stored) or node.outputs[0].is_graph_output():
            continue
        to = node.attributes.get("to")
        if to is None or to.as_int() != ir.DataType.FLOAT:
            continue
        weights = constant(stored)
        assert weights is not None
        name = str(node.outputs[0].name)
        expanded = add_initializer(model.graph, name, weights.astype(np.float32))
        ir.convenience.replace_all_uses_with(node.outputs[0], expanded)
        model.graph.remove(node, safe=True)
        if not stored.uses():
            model.graph.initializers.pop(str(stored.name))
        changed += 1
    return PassResult(model, changed)


def _is_weight(value: ir.Value) -> bool:
    return (
        value.is_initializer()
        and not value.is_graph_input()
        and value.dtype == ir.DataType.FLOAT16
        and value.const_value is not None
    )
