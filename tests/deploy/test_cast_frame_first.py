"""The cast of a uint8 frame before the nodes that move its pixels."""

from __future__ import annotations

import graphs
import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto
from onnx import helper as h

from segnet_deploy.passes.cast_frame_first import cast_frame_first
from segnet_deploy.passes.to_frame_io import to_frame_io


def convolution() -> ir.Model:
    rng = np.random.default_rng(0)
    weight = h.make_tensor(
        "w", TensorProto.FLOAT, (4, 3, 3, 3), rng.standard_normal(108).astype(np.float32)
    )
    conv = h.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    shape = {"x": [1, 3, 5, 6]}, {"y": [1, 4, 5, 6]}
    return graphs.model([conv], *shape, [weight])


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_cast_is_the_first_node_and_the_labels_are_the_same(order: str) -> None:
    model = to_frame_io(convolution(), (1, 2, 3), (2, 2, 2), order).model
    frame = np.random.default_rng(1).integers(0, 256, (1, 5, 6, 3)).astype(np.uint8)
    expected = graphs.run(model, frame, "onnxruntime")
    result = cast_frame_first(model)
    assert result.changed == 1
    assert [node.op_type for node in result.model.graph][:2] == ["Cast", "Transpose"]
    casts = [node for node in result.model.graph if node.op_type == "Cast"]
    assert len(casts) == 2  # of the frame and of the labels
    found = graphs.run(result.model, frame, "onnxruntime")
    assert all(map(np.array_equal, expected, found))
    assert cast_frame_first(result.model).changed == 0


def test_other_graphs_stay_as_they_are() -> None:
    model = convolution()
    assert cast_frame_first(model).changed == 0
    nodes = [
        h.make_node("Transpose", ["x"], ["moved"], perm=[0, 3, 1, 2]),
        h.make_node("Cast", ["moved"], ["y"], to=TensorProto.FLOAT),
        h.make_node("Identity", ["moved"], ["z"]),  # reads the pixels as integers
    ]
    graph = h.make_graph(
        nodes,
        "g",
        [h.make_tensor_value_info("x", TensorProto.UINT8, [1, 5, 6, 3])],
        [
            h.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 5, 6]),
            h.make_tensor_value_info("z", TensorProto.UINT8, [1, 3, 5, 6]),
        ],
    )
    assert cast_frame_first(ir.from_proto(h.make_model(graph))).changed == 0
