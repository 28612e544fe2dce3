"""Small ONNX graphs, built in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto as T
from onnx import helper as h

from segnet_deploy.types import Array


def standard_pair(
    shape: tuple[int, int, int, int], ceil_mode: bool, dynamic: bool = False, opset: int = 20
) -> ir.Model:
    """Return x -> MaxPool (y, index) -> MaxUnpool to x's size (z); outputs y and z."""
    c = shape[1]
    size: list[Any] = ["n", c, "h", "w"] if dynamic else list(shape)
    nodes = [
        h.make_node(
            "MaxPool",
            ["x"],
            ["y", "index"],
            name="pool",
            kernel_shape=[2, 2],
            strides=[2, 2],
            ceil_mode=int(ceil_mode),
        )
    ]
    constants = []
    if dynamic:
        nodes.append(h.make_node("Shape", ["x"], ["size"]))
    else:
        constants.append(onnx.numpy_helper.from_array(np.array(shape), "size"))
    nodes.append(
        h.make_node(
            "MaxUnpool",
            ["y", "index", "size"],
            ["z"],
            name="unpool",
            kernel_shape=[2, 2],
            strides=[2, 2],
        )
    )
    pooled: list[Any] = ["n", c, "a", "b"]
    return model(
        nodes,
        {"x": size},
        {"y": pooled, "z": size},
        constants,
        opset=opset,
    )


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    constants: list[onnx.TensorProto] | None = None,
    opset: int = 20,
) -> ir.Model:
    """Build a float model from nodes and named shapes."""
    graph = h.make_graph(
        nodes,
        "test",
        [h.make_tensor_value_info(name, T.FLOAT, shape) for name, shape in inputs.items()],
        [h.make_tensor_value_info(name, T.FLOAT, shape) for name, shape in outputs.items()],
        constants or [],
    )
    return ir.from_proto(
        h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=10)
    )


def run(tested: ir.Model, x: Array, runtime: str) -> list[Array]:
    """Check the model and run it in ONNX Runtime or OpenVINO (f32)."""
    proto = ir.to_proto(tested)
    onnx.checker.check_model(proto)
    data = proto.SerializeToString()
    name = tested.graph.inputs[0].name
    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return list(onnxruntime.InferenceSession(data, options).run(None, {name: x}))
    import openvino

    core = openvino.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    result = core.compile_model(core.read_model(data), "CPU", config)(x)
    return [np.array(value) for value in result.values()]


def operators(tested: ir.Model) -> list[str]:
    """Return the operator types in graph order."""
    return [node.op_type for node in tested.graph]


def small_net(shape: tuple[int, int] = (8, 10), bias: float = 1.0) -> ir.Model:
    """Return relu(conv(x)), pooled, relu(conv), unpooled, and a classifier."""
    rng = np.random.default_rng(0)
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        h.make_node("Conv", ["x", "a.weight", "a.bias"], ["c"], pads=[1] * 4),
        h.make_node("Relu", ["c"], ["r"]),
        h.make_node("MaxPool", ["r"], ["y", "index"], name="pool", ceil_mode=1, **window),
        h.make_node("Conv", ["y", "b.weight"], ["d"], pads=[1] * 4),
        h.make_node("Relu", ["d"], ["s"]),
        h.make_node("MaxUnpool", ["s", "index", "size"], ["u"], name="unpool", **window),
        h.make_node("Conv", ["u", "k.weight", "k.bias"], ["logits"], pads=[1] * 4),
    ]
    arrays = {
        "a.weight": rng.standard_normal((6, 3, 3, 3)) * 0.3,
        "a.bias": rng.standard_normal(6) * bias,
        "b.weight": rng.standard_normal((6, 6, 3, 3)) * 0.3,
        "k.weight": rng.standard_normal((4, 6, 3, 3)) * 0.3,
        "k.bias": rng.standard_normal(4) * bias,
    }
    constants = [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    constants.append(onnx.numpy_helper.from_array(np.array([1, 6, *shape]), "size"))
    return model(nodes, {"x": [1, 3, *shape]}, {"logits": [1, 4, *shape]}, constants)


def random_images(count: int = 3, shape: tuple[int, int] = (8, 10)) -> list[Array]:
    """Return inputs for `small_net`."""
    rng = np.random.default_rng(1)
    return [rng.standard_normal((1, 3, *shape)).astype(np.float32) for _ in range(count)]
