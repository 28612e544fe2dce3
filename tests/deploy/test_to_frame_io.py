"""uint8 frames in and labels out, inside the graph."""

from __future__ import annotations

import graphs
import numpy as np
import pytest
from onnx import helper as h

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.to_frame_io import to_frame_io

MEAN, STD = (104.0, 117.0, 123.0), (58.0, 57.0, 56.0)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_frame_io_normalises_and_labels_inside_the_graph(order: str, runtime: str) -> None:
    nodes = [h.make_node("Identity", ["x"], ["logits"])]
    model = graphs.model(nodes, {"x": [2, 3, 5, 7]}, {"logits": [2, 3, 5, 7]})
    model = to_frame_io(model, MEAN, STD, order).model
    frame = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    labels = graphs.run(model, frame, runtime)[0]
    channels = frame if order == "bgr" else frame[..., ::-1]
    expected = ((channels - np.float32(0)) - np.array(MEAN, "f4")) / np.array(STD, "f4")
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, expected.argmax(3))


def test_frame_io_needs_three_channels() -> None:
    nodes = [h.make_node("Identity", ["x"], ["y"])]
    model = graphs.model(nodes, {"x": [1, 1, 5, 7]}, {"y": [1, 1, 5, 7]})
    with pytest.raises(UnsupportedModelError, match="3 input channels"):
        to_frame_io(model, MEAN, STD, "bgr")
