"""Give the image of a quantised network a number of channels that ONNX Runtime computes fast.

On x86, ONNX Runtime's QLinearConv reads its input directly only if the number of input channels is
a multiple of four; otherwise it first copies each window to a row of a matrix. Three channels are
therefore padded to four, with weights of zero, and every sum stays the same.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import Builder, constant, producer

MULTIPLE = 4


def pad_image_channels(model: ir.Model) -> PassResult:
    """Pad in front of QuantizeLinear -> DequantizeLinear -> Conv, in place."""
    changed = [node for node in list(model.graph) if _pad(model.graph, node)]
    return PassResult(model, len(changed))


def _pad(graph: ir.Graph, conv: ir.Node) -> bool:
    if conv.op_type != "Conv" or conv.domain or conv.attributes.get_int("group", 1) != 1:
        return False
    image = producer(conv.inputs[0], "DequantizeLinear")
    quantise = producer(image.inputs[0], "QuantizeLinear") if image is not None else None
    weight = producer(conv.inputs[1], "DequantizeLinear")
    if image is None or quantise is None or weight is None:
        return False
    if any(len(list(node.outputs[0].uses())) != 1 for node in (image, quantise, weight)):
        return False
    array, source = constant(weight.inputs[0]), quantise.inputs[0]
    if array is None or array.ndim != 4 or source is None or not _pads_with_zero(image, weight):
        return False
    missing = -array.shape[1] % MULTIPLE
    if not missing or array.shape[1] > MULTIPLE:
        return False
    build = Builder(graph, quantise)
    padded = build.op("Pad", source, build.const([0] * 5 + [missing, 0, 0]))
    quantise.replace_input_with(0, padded)
    wider = np.pad(array, ((0, 0), (0, missing), (0, 0), (0, 0)))
    weight.replace_input_with(0, build.const(wider, array.dtype))
    for value in (quantise.outputs[0], image.outputs[0], weight.outputs[0]):
        value.shape = None
    return True


def _pads_with_zero(image: ir.Node, weight: ir.Node) -> bool:
    """Return whether the image has one scale, and weights of 0 mean 0 in each input channel."""
    steps, scales = constant(image.inputs[1]), constant(weight.inputs[1])
    zero = constant(weight.inputs[2]) if len(weight.inputs) > 2 else np.zeros(1)
    if steps is None or scales is None or zero is None or steps.size != 1 or zero.any():
        return False
    return scales.size == 1 or weight.attributes.get_int("axis", 1) == 0
