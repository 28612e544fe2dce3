"""Write the normalisation and a softmax into the graph: pixels 0-255 as input, scores as output."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import (
    Builder,
    infer_shapes,
    int_attribute,
    normalised,
    opset,
    producer,
    remove_dead,
    walk_back,
)

SCORES = "scores"  # the name of the only output


def to_scores(
    model: ir.Model, mean: Sequence[float], std: Sequence[float], softmax: bool = True
) -> PassResult:
    """Rewrite `model` in place to read pixels and return scores; return the PassResult.

    The input stays (N, C, H, W) float32, now of pixels from 0 to 255 in the channel order of the
    model. The only output is `scores`, (N, classes, H, W) float32, which add up to 1 per pixel;
    `softmax` False: the first output does so already. Raises UnsupportedModelError unless there are
    one or three channels and an output for each class.
    """
    graph = model.graph
    image, scores = graph.inputs[0], graph.outputs[0]
    channels = None if image.shape is None else image.shape[1]
    if channels not in (1, 3):
        raise UnsupportedModelError(
            f"the model reads {channels} channels; expected 3 (colour) or 1 (grey)"
        )
    if scores.shape is None or len(scores.shape) != 4 or scores.dtype != ir.DataType.FLOAT:
        raise UnsupportedModelError(
            f"the output '{scores.name}' is {scores.dtype} {scores.shape}; expected float scores "
            "(N, classes, H, W): export without an ArgMax in the network"
        )
    if channels == 3:
        pixels = ir.Value(name=image.name, type=image.type, shape=image.shape)
        graph.inputs[0] = pixels
        first = normalised(Builder(graph, graph[0]), pixels, mean, std)
        ir.convenience.replace_all_uses_with(image, first, replace_graph_outputs=True)
    build = Builder(graph)
    if softmax:
        scores = _softmax(build, scores, opset(model))
    for node in graph:
        for value in node.outputs:
            if value.name == SCORES:
                value.name = f"{SCORES}_before"
    result = build.op("Identity", scores)
    result.name, result.type = SCORES, ir.TensorType(ir.DataType.FLOAT)
    graph.outputs.clear()
    graph.outputs.append(result)
    return PassResult(infer_shapes(remove_dead(model)), 1)


def adds_up_to_one(model: ir.Model) -> bool:
    """Return whether the first output, (N, classes, H, W), is a softmax over the classes."""
    node = producer(walk_back(model.graph.outputs[0], ("Identity", "Cast")), "Softmax")
    return node is not None and opset(model) >= 13 and int_attribute(node, "axis", -1) in (1, -3)


def _softmax(build: Builder, logits: ir.Value, version: int) -> ir.Value:
    """Return the softmax over axis 1; before opset 13 only the last axis can be one alone."""
    if version >= 13:
        return build.op("Softmax", logits, axis=1)
    last = build.op("Softmax", build.op("Transpose", logits, perm=[0, 2, 3, 1]), axis=3)
    return build.op("Transpose", last, perm=[0, 3, 1, 2])
