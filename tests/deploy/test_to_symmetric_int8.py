"""The symmetric form of INT8, which TensorRT's parser requires."""

from __future__ import annotations

import graphs
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper as h

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.graph import constant
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_symmetric_int8 import to_symmetric_int8
from segnet_deploy.quant.calibration import calibrate
from segnet_deploy.quant.insert_qdq import insert_qdq

Q, DQ = "QuantizeLinear", "DequantizeLinear"


def quantised() -> ir.Model:
    net = graphs.small_net()
    return insert_qdq(net, calibrate(graphs.small_net(), graphs.random_images(), "minmax")).model


def test_tensorrt_form_has_int8_with_zero_point_zero_and_float_biases() -> None:
    before = quantised()
    step = float(constant(before.graph.initializers["r_scale"]))
    model = to_symmetric_int8(before).model
    onnx.checker.check_model(ir.to_proto(model))
    for node in model.graph:
        if node.op_type in (Q, DQ):
            zero = constant(node.inputs[2])
            assert zero.dtype == np.int8
            assert not zero.any()
        if node.op_type == "Conv":
            assert constant(node.inputs[2]).dtype == np.float32
    pool = next(n for n in model.graph if n.op_type == "MaxPool")
    assert constant(pool.inputs[0].producer().inputs[1]) == pytest.approx(step * 255 / 127)
    x = graphs.random_images(1)[0]
    wanted = graphs.run(graphs.small_net(), x, "onnxruntime")[0]
    got = graphs.run(model, x, "onnxruntime")[0]
    assert np.abs(got - wanted).max() < 0.15 * np.abs(wanted).max()
    assert to_symmetric_int8(graphs.small_net()).changed == 0


def test_tensorrt_form_of_a_lowered_file_is_refused() -> None:
    lowered = to_form(quantised(), "lowered").model
    with pytest.raises(UnsupportedModelError, match="start from the standard form"):
        to_symmetric_int8(lowered)
    symmetric = to_form(to_symmetric_int8(quantised()).model, "lowered", integers=False).model
    assert to_symmetric_int8(symmetric).changed == 0


def test_tensorrt_form_reads_the_type_without_a_zero_point() -> None:
    """Other tools omit a zero point of 0: int8 weights stay, int32 biases become floats."""
    rng = np.random.default_rng(0)
    arrays = {
        "weight": rng.integers(-63, 64, (4, 3, 3, 3)).astype(np.int8),  # no saturation
        "bias": rng.integers(-999, 999, 4).astype(np.int32),
        "step": np.float32(0.02),
        "weight_step": np.float32(0.01),
        "bias_step": np.float32(0.0002),
    }
    nodes = [
        h.make_node(Q, ["x", "step"], ["q"]),
        h.make_node(DQ, ["q", "step"], ["d"]),
        h.make_node(DQ, ["weight", "weight_step"], ["w"]),
        h.make_node(DQ, ["bias", "bias_step"], ["b"]),
        h.make_node("Conv", ["d", "w", "b"], ["y"]),
    ]
    constants = [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()]
    model = graphs.model(nodes, {"x": [1, 3, 6, 6]}, {"y": [1, 4, 4, 4]}, constants)
    x = graphs.random_images(1, (6, 6))[0].clip(0, 127 * 0.02)
    wanted = graphs.run(model, x, "onnxruntime")[0]
    model = to_symmetric_int8(model).model
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    conv = next(n for n in model.graph if n.op_type == "Conv")
    assert constant(conv.inputs[1].producer().inputs[0]).dtype == np.int8
    assert constant(conv.inputs[2]).dtype == np.float32
    got = graphs.run(model, x, "onnxruntime")[0]
    assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize("channels", [False, True], ids=["tensor", "channels"])
@pytest.mark.parametrize(("middle", "kind"), [(128, np.int8), (99, np.float32)])
def test_tensorrt_form_keeps_the_numbers_of_constant_uint8_levels(
    channels: bool, middle: int, kind: type
) -> None:
    """Weights of other quantisers, zero point 128: as int8, or as floats if they do not fit."""
    zeros, steps = middle + np.array([0, 1, -1]), np.array([0.01, 0.02, 0.03])
    if not channels:
        zeros, steps = zeros[0], steps[0]
    arrays = {
        "levels": np.tile(np.array([3, 128, 252, 9], np.uint8), (3, 1)),
        "step": steps.astype(np.float32),
        "zero": zeros.astype(np.uint8),
    }
    nodes = [
        h.make_node(DQ, ["levels", "step", "zero"], ["w"], axis=0),
        h.make_node("Add", ["x", "w"], ["y"]),
    ]
    constants = [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()]
    model = graphs.model(nodes, {"x": [3, 4]}, {"y": [3, 4]}, constants)
    x = np.ones((3, 4), np.float32)
    wanted = graphs.run(model, x, "onnxruntime")[0]
    model = to_symmetric_int8(model).model
    weights = next(n for n in model.graph if n.op_type == "Add").inputs[1]
    made = weights.producer()
    assert constant(weights if made is None else made.inputs[0]).dtype == kind
    assert np.allclose(graphs.run(model, x, "onnxruntime")[0], wanted, atol=1e-6)


def test_tensorrt_form_refuses_scales_by_channel_of_activations() -> None:
    arrays = {"step": np.full(3, 0.02, np.float32), "zero": np.full(3, 128, np.uint8)}
    nodes = [
        h.make_node(Q, ["x", "step", "zero"], ["q"], name="quantise"),
        h.make_node(DQ, ["q", "step", "zero"], ["y"]),
    ]
    constants = [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()]
    model = graphs.model(nodes, {"x": [1, 3, 6, 6]}, {"y": [1, 3, 6, 6]}, constants)
    with pytest.raises(UnsupportedModelError, match="QuantizeLinear 'quantise'"):
        to_symmetric_int8(model)


def test_relu_that_a_quantiser_left_out_is_kept() -> None:
    """Levels of uint8 from 0 cut off negative values: int8 levels alone would not."""
    arrays = {"step": np.float32(0.01), "zero": np.uint8(0)}
    constants = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()]
    nodes = [
        h.make_node("Neg", ["x"], ["n"]),
        h.make_node(Q, ["n", "step", "zero"], ["q"]),
        h.make_node(DQ, ["q", "step", "zero"], ["y"]),
    ]
    shape = [1, 3, 8, 10]
    model = graphs.model(nodes, {"x": shape}, {"y": shape}, constants)
    x = graphs.random_images(1)[0]
    wanted = graphs.run(model, x, "onnxruntime")[0]
    got = graphs.run(to_symmetric_int8(model).model, x, "onnxruntime")[0]
    assert wanted.min() == 0
    assert np.abs(got - wanted).max() <= 0.01 * 255 / 127


def test_scale_that_differs_from_the_quantised_one_is_refused() -> None:
    arrays = {"step": np.float32(0.01), "other": np.float32(0.02), "zero": np.uint8(0)}
    constants = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()]
    shape = [1, 3, 8, 10]
    for step, source in (("other", "q"), ("step", "x8")):
        nodes = [
            h.make_node(Q, ["x", "step", "zero"], ["q"]),
            h.make_node("Cast", ["x"], ["x8"], to=onnx.TensorProto.UINT8),
            h.make_node(DQ, [source, step, "zero"], ["y"], name="back"),
        ]
        model = graphs.model(nodes, {"x": shape}, {"y": shape}, constants)
        with pytest.raises(UnsupportedModelError, match="'back' has no symmetric form"):
            to_symmetric_int8(model)
