"""Fuse the nodes of torch's LocalResponseNorm into one LRN operator.

SegNet-Basic starts with this layer. torch.onnx exports it as a padded 3-D average pool. ONNX
Runtime 1.23 folds the pad into the pool and computes different values, so the single operator
is not only faster but also correct in every runtime.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import (
    Builder,
    constant,
    infer_shapes,
    ints_attribute,
    producer,
    remove_dead,
    replace,
    walk_back,
)

_RESHAPING = ("Reshape", "Squeeze", "Unsqueeze")


def fuse_lrn(model: ir.Model) -> PassResult:
    """Rewrite x / (bias + alpha * mean of squares over channels) ** beta as LRN.

    Works in place; returns the PassResult.
    """
    found = [node for node in model.graph if node.op_type == "Div" and _lrn_attributes(node)]
    for node in found:
        build = Builder(model.graph, node)
        y = build.op("LRN", node.inputs[0], **_lrn_attributes(node))
        y.type, y.shape = node.outputs[0].type, node.outputs[0].shape
        replace(node.outputs[0], y)
    if found:
        model = infer_shapes(remove_dead(model))
    return PassResult(model, len(found), tuple(f"LRN for '{n.name}'" for n in found))


def _lrn_attributes(node: ir.Node) -> dict[str, Any]:
    """Return LRN's attributes if the division `node` ends the pattern, else an empty dict."""
    x = node.inputs[0]
    power = producer(node.inputs[1], "Pow")
    add = producer(power.inputs[0], "Add") if power else None
    scaled, bias = _split_constant(add)
    mean, alpha = _split_constant(producer(scaled, "Mul"))
    pool = producer(walk_back(mean, _RESHAPING), "AveragePool")
    beta = _scalar(power.inputs[1]) if power else None
    if pool is None or alpha is None or beta is None or bias is None:
        return {}
    kernel = ints_attribute(pool, "kernel_shape", ())
    pad = producer(pool.inputs[0], "Pad")
    pads = constant(pad.inputs[1]) if pad else None
    if len(kernel) != 3 or kernel[1:] != (1, 1) or kernel[0] % 2 == 0 or pad is None:
        return {}
    half = kernel[0] // 2
    value = _scalar(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] is not None else 0.0
    if pads is None or pads.tolist() != [0, 0, half, 0, 0, 0, 0, half, 0, 0] or value != 0:
        return {}
    square = producer(walk_back(pad.inputs[0], _RESHAPING), "Mul")
    if square is None or square.inputs[0] is not x or square.inputs[1] is not x:
        return {}
    return {"size": kernel[0], "alpha": alpha, "beta": beta, "bias": bias}


def _split_constant(node: ir.Node | None) -> tuple[ir.Value | None, float | None]:
    """Return the variable and the constant operand of a binary `node`."""
    for i in (0, 1) if node is not None else ():
        assert node is not None
        if (number := _scalar(node.inputs[1 - i])) is not None:
            return node.inputs[i], number
    return None, None


def _scalar(value: ir.Value | None) -> float | None:
    array = constant(value)
    # The attribute is a float32 as well; through its shortest decimal, 1e-4 stays 1e-4.
    return float(str(np.float32(array.item()))) if array is not None and array.size == 1 else None
