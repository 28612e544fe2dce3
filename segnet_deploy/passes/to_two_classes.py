"""Give a network with one output channel two classes, by a threshold of 0.5 on the probability.

The file then has two channels in place of the one, so that every runtime finds the label as the
larger one, and the probability of class 1 as a further output:

logits z          -z / 2 and z / 2, whose softmax is the sigmoid of z; label 1 where z > 0
probabilities p   1 - p and p; label 1 where p > 0.5
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import Builder, infer_shapes
from segnet_deploy.types import Array

THRESHOLD = 0.5
PROBABILITY = "probability"  # the name of the further output
LOGITS, PROBABILITIES = "logits", "probabilities"
_ALIKE = {  # operators whose results are probabilities if their inputs are
    *("Identity", "Cast", "Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Clip"),
    *("AveragePool", "Pad"),
}


def has_one_channel(model: ir.Model) -> bool:
    """Return whether the first output is (N, 1, H, W)."""
    shape = model.graph.outputs[0].shape
    return shape is not None and len(shape) == 4 and shape[1] == 1


def find_kind(model: ir.Model) -> str:
    """Return what the one channel holds: 'probabilities', of a sigmoid, or 'logits'.

    Raises UnsupportedModelError for a channel that is limited in another way.
    """
    node = model.graph.outputs[0].producer()
    last = node
    while node is not None and node.op_type in _ALIKE and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is not None and node.op_type in ("Sigmoid", "HardSigmoid"):
        return PROBABILITIES
    if last is not None and last.op_type in ("Clip", "Softmax", "LogSoftmax"):
        raise UnsupportedModelError(
            f"the one output channel '{model.graph.outputs[0].name}' is the result of "
            f"{last.op_type}, not of a sigmoid; expected logits or their sigmoid, or two channels"
        )
    return LOGITS


def to_two_classes(model: ir.Model, kind: str) -> PassResult:
    """Rewrite the first output of `model`, (N, 1, H, W), in place to two channels.

    `kind` is 'logits' or 'probabilities'. The output `probability` is added as the last one.
    """
    graph = model.graph
    value, build = graph.outputs[0], Builder(graph)
    assert value.dtype is not None
    dtype, name = value.dtype.numpy(), value.name
    names = {output.name for output in graph.outputs}
    added = PROBABILITY
    while added in names:
        added += "_output"
    value.name = f"{name}_channel"
    if kind == PROBABILITIES:
        rest = build.op("Mul", value, build.const(-1, dtype))
        first, second = build.op("Add", rest, build.const(1, dtype)), value
        probability = value
    else:
        first = build.op("Mul", value, build.const(-0.5, dtype))
        second = build.op("Mul", value, build.const(0.5, dtype))
        probability = build.op("Sigmoid", value)
    both = build.op("Concat", first, second, axis=1)
    both.name, probability.name = name, added
    both.type, probability.type = value.type, value.type
    graph.outputs[0] = both
    graph.outputs.append(probability)
    return PassResult(infer_shapes(model), 1)


def two_classes(values: Array, kind: str) -> tuple[Array, Array]:
    """Return the two channels and the probability for (N, 1, H, W) values, in numpy."""
    if kind == PROBABILITIES:
        return np.concatenate([1 - values, values], 1), values
    with np.errstate(over="ignore"):
        return np.concatenate([-values / 2, values / 2], 1), 1 / (1 + np.exp(-values))
