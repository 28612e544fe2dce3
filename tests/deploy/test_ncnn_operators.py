"""ncnn: each operator against ONNX Runtime, and the operators that are not supported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx
import pytest
from ncnn_models import run, values, weight
from onnx import helper as h

from segnet_deploy import runtimes
from segnet_deploy.errors import EngineError
from segnet_deploy.passes.to_plugin_ops import to_plugin_ops

pytestmark = pytest.mark.needs("ncnn")

NODES: dict[str, tuple[list[onnx.NodeProto], list[onnx.TensorProto]]] = {
    "conv-dilated": (
        [h.make_node("Conv", ["x", "w"], ["y"], pads=[2, 2, 2, 2], dilations=[2, 2])],
        [weight("w", 5, 8, 3, 3)],
    ),
    "conv-strided": (
        [h.make_node("Conv", ["x", "w", "b"], ["y"], pads=[0, 1, 1, 0], strides=[2, 1])],
        [weight("w", 5, 8, 3, 5), weight("b", 5)],
    ),
    "conv-groups": ([h.make_node("Conv", ["x", "w"], ["y"], group=4)], [weight("w", 12, 2, 1, 1)]),
    "deconv": (
        [h.make_node("ConvTranspose", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2])],
        [weight("w", 8, 5, 4, 4), weight("b", 5)],
    ),
    "batch-norm": (
        [h.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=1e-3)],
        [
            weight("s", 8),
            weight("b", 8),
            weight("m", 8),
            onnx.numpy_helper.from_array(np.linspace(0.5, 2, 8, dtype=np.float32), "v"),
        ],
    ),
    "lrn": ([h.make_node("LRN", ["x"], ["y"], size=5, alpha=0.1, beta=0.75)], []),
    "average": (
        [h.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2])],
        [],
    ),
    "max": (
        [
            h.make_node(
                "MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
            )
        ],
        [],
    ),
    "max-ceil": (
        [h.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
        [],
    ),
    "skip": (
        [
            h.make_node("Relu", ["x"], ["r"]),
            h.make_node("Concat", ["r", "x"], ["c"], axis=1),
            h.make_node("Conv", ["c", "w"], ["d"]),
            h.make_node("Add", ["d", "r"], ["y"]),
        ],
        [weight("w", 8, 16, 1, 1)],
    ),
    "crop-pad": (
        [
            h.make_node("Slice", ["x", "from", "to", "axes"], ["s"]),
            h.make_node("Pad", ["s", "pads"], ["y"]),
        ],
        [
            values("from", [1, 2]),
            values("to", [6, 2**40]),
            values("axes", [2, 3]),
            values("pads", [0, 0, 1, 0, 0, 0, 2, 3]),
        ],
    ),
    "bilinear": (
        [
            h.make_node(
                "Resize",
                ["x", "", "", "size"],
                ["y"],
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
        ],
        [values("size", [1, 8, 14, 19])],
    ),
    "corners": (
        [
            h.make_node(
                "Resize",
                ["x", "", "", "size"],
                ["y"],
                mode="linear",
                coordinate_transformation_mode="align_corners",
            )
        ],
        [values("size", [1, 8, 14, 19])],
    ),
    "nearest": (
        [
            h.make_node(
                "Resize",
                ["x", "", "", "size"],
                ["y"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        [values("size", [1, 8, 14, 18])],
    ),
    "scales": (
        [
            h.make_node(
                "Resize",
                ["x", "", "scales"],
                ["y"],
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
        ],
        [onnx.numpy_helper.from_array(np.array([1, 1, 2, 4 / 3], np.float32), "scales")],
    ),
    "global-average": ([h.make_node("GlobalAveragePool", ["x"], ["y"])], []),
    "softmax": ([h.make_node("Softmax", ["x"], ["y"], axis=1)], []),
    "softmax-2d": ([h.make_node("Softmax", ["x"], ["y"], axis=-3)], []),
    "log-softmax": ([h.make_node("LogSoftmax", ["x"], ["y"], axis=1)], []),
    "log-softmax-far": (
        [
            h.make_node("Mul", ["x", "k"], ["t"]),
            h.make_node("LogSoftmax", ["t"], ["r"], axis=-3),
            h.make_node("Div", ["r", "k"], ["y"]),
        ],
        [onnx.numpy_helper.from_array(np.array(500, np.float32), "k")],
    ),
    "prelu-channels": ([h.make_node("PRelu", ["x", "s"], ["y"])], [weight("s", 8, 1, 1)]),
    "prelu-batched": ([h.make_node("PRelu", ["x", "s"], ["y"])], [weight("s", 1, 8, 1, 1)]),
    "prelu-one": ([h.make_node("PRelu", ["x", "s"], ["y"])], [weight("s", 1)]),
    "from-last": (
        [
            h.make_node("Relu", ["x"], ["r"]),
            h.make_node("Concat", ["r", "x"], ["c"], axis=-3),
            h.make_node("Slice", ["c", "from", "to", "axes"], ["y"]),
        ],
        [values("from", [1, 2, -3]), values("to", [15, -1, 2**62]), values("axes", [-3, -2, -1])],
    ),
    "dropout": (
        [
            h.make_node("Dropout", ["x", "", "off"], ["d"]),
            h.make_node("Sigmoid", ["d"], ["y"]),
        ],
        [onnx.numpy_helper.from_array(np.array(False), "off")],
    ),
    "scaled": (
        [h.make_node("Mul", ["x", "k"], ["t"]), h.make_node("Sigmoid", ["t"], ["y"])],
        [onnx.numpy_helper.from_array(np.array(0.5, np.float32), "k")],
    ),
}


def one(name: str) -> Any:
    nodes, constants = NODES[name]
    return graphs.model(nodes, {"x": [1, 8, 7, 9]}, {"y": [1, "c", "h", "w"]}, constants)


@pytest.mark.parametrize("name", NODES)
def test_operator_agrees_with_onnxruntime(name: str, tmp_path: Path) -> None:
    x = np.random.default_rng(4).standard_normal((1, 8, 7, 9)).astype(np.float32)
    want = graphs.run(one(name), x, "onnxruntime")[0]
    got = run(one(name), x, tmp_path)["y"]
    assert got.shape == want.shape
    assert np.allclose(got, want, atol=2e-5), np.abs(got - want).max()


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (h.make_node("Erf", ["x"], ["y"], name="bad"), "Erf 'bad'"),
        (h.make_node("Concat", ["x", "x"], ["y"], name="bad", axis=2), "Concat 'bad'"),
        (
            h.make_node(
                "MaxPool",
                ["x"],
                ["y"],
                name="bad",
                kernel_shape=[3, 3],
                strides=[2, 2],
                ceil_mode=1,
            ),
            "MaxPool 'bad'",
        ),
        (h.make_node("LRN", ["x"], ["y"], name="bad", size=4), "LRN 'bad'.* 4"),
        (h.make_node("Softmax", ["x"], ["y"], name="bad", axis=-1), "Softmax 'bad'.* channels"),
        (h.make_node("LogSoftmax", ["x"], ["y"], name="bad", axis=2), "LogSoftmax 'bad'"),
        (h.make_node("PRelu", ["x", "p"], ["y"], name="bad"), r"PRelu 'bad'.* slopes \(9,\)"),
        (h.make_node("Dropout", ["x", "", "on"], ["y"], name="bad"), "Dropout 'bad'.* random"),
        (
            h.make_node("LeakyRelu", ["x"], ["y"], name="bad", alpha=float("inf")),
            "LeakyRelu 'bad'.* finite",
        ),
        (
            h.make_node("Resize", ["x", "", "f"], ["y"], name="bad", mode="linear"),
            r"Resize 'bad'.* \(10, 13\)",
        ),
        (
            h.make_node(
                "Resize", ["x", "", "", "s"], ["y"], name="bad", mode="linear", antialias=1
            ),
            "Resize 'bad'.* antialias",
        ),
    ],
)
def test_unsupported_node_is_refused_by_name(
    node: onnx.NodeProto, why: str, tmp_path: Path
) -> None:
    constants = [
        onnx.numpy_helper.from_array(np.array([1, 1, 1.5, 1.5], np.float32), "f"),
        values("s", [1, 8, 4, 4]),
        weight("p", 9),
        onnx.numpy_helper.from_array(np.array(True), "on"),
    ]
    used = [constant for constant in constants if constant.name in node.input]
    model = graphs.model([node], {"x": [1, 8, 7, 9]}, {"y": [1, "c", "h", "w"]}, used)
    x = np.zeros((1, 8, 7, 9), np.float32)
    with pytest.raises(EngineError, match=why):
        run(model, x, tmp_path)
    engine = runtimes.open(tmp_path / "model.onnx")
    assert engine.name != "ncnn"


def test_labels_of_more_channels_than_a_byte_are_refused(tmp_path: Path) -> None:
    nodes = [
        h.make_node("Conv", ["x", "w"], ["z"]),
        h.make_node("ArgMax", ["z"], ["y"], name="labels", axis=1, keepdims=0),
    ]
    kernel = weight("w", 257, 8, 1, 1)
    model = graphs.model(nodes, {"x": [1, 8, 7, 9]}, {"y": [1, 7, 9]}, [kernel])
    model.graph.outputs[0].type = graphs.ir.TensorType(graphs.ir.DataType.INT64)
    with pytest.raises(EngineError, match=r"ArgMax 'labels'.* 257 channels"):
        run(model, np.zeros((1, 8, 7, 9), np.float32), tmp_path)


@pytest.mark.parametrize(("op_type", "opset"), [("Softmax", 11), ("LogSoftmax", 12)])
def test_operator_of_an_opset_that_defines_it_otherwise_is_refused(
    op_type: str, opset: int, tmp_path: Path
) -> None:
    """Before opset 13 a softmax over axis 1 was one over all axes from 1."""
    node = h.make_node(op_type, ["x"], ["y"], name="bad", axis=1)
    shape = [1, 8, 7, 9]
    model = graphs.model([node], {"x": shape}, {"y": shape}, opset=opset)
    with pytest.raises(EngineError, match=f"'bad'.* opset {opset} defines it otherwise"):
        run(model, np.zeros((1, 8, 7, 9), np.float32), tmp_path)


def test_label_map_of_a_negative_axis_is_computed(tmp_path: Path) -> None:
    nodes = [
        h.make_node("Relu", ["x"], ["z"]),
        h.make_node("ArgMax", ["z"], ["y"], axis=-3, keepdims=0),
    ]
    model = graphs.model(nodes, {"x": [1, 8, 7, 9]}, {"y": [1, 7, 9]})
    model.graph.outputs[0].type = graphs.ir.TensorType(graphs.ir.DataType.INT64)
    x = np.random.default_rng(4).standard_normal((1, 8, 7, 9)).astype(np.float32)
    assert np.array_equal(run(model, x, tmp_path)["y"], np.maximum(x, 0).argmax(1))


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    nodes = [
        h.make_node("GlobalAveragePool", ["x"], ["g"]),
        h.make_node("Concat", ["g", "x"], ["y"], axis=1),
    ]
    model = graphs.model(nodes, {"x": [1, 8, 7, 9]}, {"y": [1, 16, 7, 9]})
    with pytest.raises(EngineError, match="shapes do not fit together"):
        run(model, np.zeros((1, 8, 7, 9), np.float32), tmp_path)


@pytest.mark.parametrize("form", ["standard", "plugin"])
def test_weights_for_other_channels_are_refused(form: str, tmp_path: Path) -> None:
    """ONNX's shape inference does not compare them, and ncnn would read beyond its memory."""
    model = graphs.standard_pair((1, 3, 8, 12), False)
    result = model.graph.outputs[-1].name
    node = h.make_node("Conv", [str(result), "w"], ["wide_y"], name="wide")
    proto = graphs.ir.to_proto(model)
    proto.graph.node.append(node)
    proto.graph.initializer.append(
        onnx.numpy_helper.from_array(np.zeros((2, 6, 1, 1), np.float32), "w")
    )
    del proto.graph.output[:]
    shape = [1, 2, 8, 12]
    proto.graph.output.append(h.make_tensor_value_info("wide_y", onnx.TensorProto.FLOAT, shape))
    wrong = graphs.ir.from_proto(proto)
    if form == "plugin":
        wrong = to_plugin_ops(wrong).model
    with pytest.raises(EngineError, match="'wide' reads 3 channels, but its weights are for 6"):
        run(wrong, np.zeros((1, 3, 8, 12), np.float32), tmp_path)


def test_channels_of_a_frame_are_picked_one_after_the_other(tmp_path: Path) -> None:
    nodes = [
        h.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        h.make_node("Gather", ["t", "first"], ["g"], axis=1),
        h.make_node("Gather", ["g", "second"], ["p"], axis=-3),
        h.make_node("Cast", ["p"], ["f"], to=onnx.TensorProto.FLOAT),
        h.make_node("Relu", ["f"], ["y"]),
    ]
    constants = [values("first", [2, 0, 1]), values("second", [-1, 0, 1])]
    model = graphs.model(nodes, {"x": [1, 7, 9, 3]}, {"y": [1, 3, 7, 9]}, constants)
    model.graph.inputs[0].type = graphs.ir.TensorType(graphs.ir.DataType.UINT8)
    x = np.random.default_rng(0).integers(0, 256, (1, 7, 9, 3), np.uint8)
    want = graphs.run(model, x, "onnxruntime")[0]
    assert np.array_equal(run(model, x, tmp_path)["y"], want)
    nodes[1].input[1] = "outside"
    constants[0] = values("outside", [2, 0, 3])
    model = graphs.model(nodes, {"x": [1, 7, 9, 3]}, {"y": [1, 3, 7, 9]}, constants)
    model.graph.inputs[0].type = graphs.ir.TensorType(graphs.ir.DataType.UINT8)
    with pytest.raises(EngineError, match="Gather"):
        run(model, x, tmp_path)
