"""Move preprocessing and argmax into the graph: a frame as input, a label map as output."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import Builder, infer_shapes, normalised

FRAME, LABELS = "frame", "labels"  # the names of the input and of the label output


def to_frame_io(
    model: ir.Model, mean: Sequence[float], std: Sequence[float], channel_order: str
) -> PassResult:
    """Rewrite `model` in place to read frames and write label maps; return the PassResult.

    The input becomes `frame`, (N, H, W, 3) uint8 BGR; the first output `labels`, (N, H, W) uint8;
    other outputs stay as they are.
    `mean` and `std` are on the 0-255 scale in the model's `channel_order` ('bgr' or 'rgb').
    Raises UnsupportedModelError if the model's input does not have three channels.
    """
    graph = model.graph
    old, logits = graph.inputs[0], graph.outputs[0]
    if old.shape is None or len(old.shape) != 4 or old.shape[1] != 3:
        raise UnsupportedModelError(
            f"--io frame needs a model with 3 input channels; this one has the input {old.shape}"
        )
    n, _, height, width = old.shape
    frame = ir.Value(
        name=FRAME,
        type=ir.TensorType(ir.DataType.UINT8),
        shape=ir.Shape([n, height, width, 3]),
    )
    first = graph[0]
    graph.inputs[0] = frame
    build = Builder(graph, first)
    x = build.op("Transpose", frame, perm=[0, 3, 1, 2])
    if channel_order == "rgb":
        x = build.op("Gather", x, build.const([2, 1, 0]), axis=1)
    x = build.op("Cast", x, to=int(ir.DataType.FLOAT))
    ir.convenience.replace_all_uses_with(old, normalised(build, x, mean, std))
    arg = ir.node("ArgMax", [logits], {"axis": 1, "keepdims": 0})
    cast = ir.node("Cast", arg.outputs, {"to": int(ir.DataType.UINT8)})
    graph.extend([arg, cast])
    labels = cast.outputs[0]
    labels.name = LABELS
    labels.type = ir.TensorType(ir.DataType.UINT8)
    graph.outputs[0] = labels
    return PassResult(infer_shapes(model), 1)
