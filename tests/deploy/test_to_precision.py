"""fp16 and bf16 graphs: which values are converted, and no cast among masks and codes."""

from __future__ import annotations

from pathlib import Path

import cases
import graphs
import numpy as np
import onnx
import pytest
from onnx import helper as h

from segnet_deploy import runtimes
from segnet_deploy.accuracy.agreement import default_limit
from segnet_deploy.errors import EngineError, InputError, UnsupportedModelError
from segnet_deploy.passes.lower_unpooling import lower_unpooling
from segnet_deploy.passes.to_frame_io import to_frame_io
from segnet_deploy.passes.to_plugin_ops import to_plugin_ops
from segnet_deploy.passes.to_precision import to_precision

HALVES = {"fp16": graphs.ir.DataType.FLOAT16, "bf16": graphs.ir.DataType.BFLOAT16}


def net(weight: float = 1.0) -> graphs.ir.Model:
    """Return relu(conv(x)), pooled and unpooled, and a classifier."""
    rng = np.random.default_rng(0)
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        h.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        h.make_node("Relu", ["c"], ["r"]),
        h.make_node("MaxPool", ["r"], ["y", "index"], name="pool", **window),
        h.make_node("MaxUnpool", ["y", "index", "size"], ["u"], name="unpool", **window),
        h.make_node("Conv", ["u", "w2"], ["logits"], pads=[1, 1, 1, 1]),
    ]
    arrays = {
        "w": rng.standard_normal((6, 3, 3, 3)) * 0.3 * weight,
        "b": rng.standard_normal(6),
        "w2": rng.standard_normal((4, 6, 3, 3)) * 0.3,
    }
    constants = [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    constants.append(onnx.numpy_helper.from_array(np.array([1, 6, 8, 10]), "size"))
    return graphs.model(nodes, {"x": [1, 3, 8, 10]}, {"logits": [1, 4, 8, 10]}, constants)


def image() -> cases.Array:
    return cases.PoolCase((1, 3, 8, 10), False, "random").make()


@pytest.mark.needs("openvino")
@pytest.mark.parametrize(("precision", "capability"), [("fp16", "FP16"), ("bf16", "BF16")])
def test_openvino_computes_in_half_where_the_cpu_can(
    precision: str, capability: str, tmp_path: Path
) -> None:
    import openvino

    path = tmp_path / "half.onnx"
    graphs.ir.save(to_precision(lower_unpooling(net()).model, precision).model, path)
    engine = runtimes.open(path, "openvino")
    capable = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert engine.computes_half == (capability in capable)
    assert np.isfinite(engine.run(image())).all()
    graphs.ir.save(lower_unpooling(net()).model, path)
    assert not runtimes.open(path, "openvino").computes_half


def test_onnxruntime_says_that_it_has_no_bf16_convolution(tmp_path: Path) -> None:
    path = tmp_path / "bf16.onnx"
    graphs.ir.save(to_precision(lower_unpooling(net()).model, "bf16").model, path)
    with pytest.raises(EngineError, match="no bf16 convolution on CPUs; use --runtime openvino"):
        runtimes.open(path, "onnxruntime")


def test_onnxruntime_computes_in_half_where_it_says_so(tmp_path: Path) -> None:
    """ARM with fp16 arithmetic does; other CPUs compute in fp32, and round the result or not."""
    rng = np.random.default_rng(0)
    weight, x = (
        rng.standard_normal(shape).astype(np.float16).astype(np.float32)
        for shape in ((8, 64, 3, 3), (1, 64, 6, 6))
    )
    model = graphs.model(
        [h.make_node("Conv", ["x", "w"], ["logits"], pads=[1] * 4)],
        {"x": [1, 64, 6, 6]},
        {"logits": [1, 8, 6, 6]},
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    exact = graphs.run(model, x, "onnxruntime")[0]
    path = tmp_path / "fp16.onnx"
    graphs.ir.save(to_precision(model, "fp16").model, path)
    engine = runtimes.open(path, "onnxruntime")
    rounded = np.abs(engine.run(x) - exact) <= np.abs(exact) * 2.0**-11 + 2.0**-25
    assert rounded.all() != engine.computes_half


def test_default_limit_depends_on_what_is_computed() -> None:
    assert default_limit("fp16", half=True) < default_limit("fp16", half=False)
    assert default_limit("fp32", half=False) == default_limit("fp32", half=True) == 0.9999
    assert default_limit("bf16", half=True) == default_limit("bf16", half=False) == 0.97


@pytest.mark.parametrize("io", ["tensor", "frame"])
def test_fp16_file_runs_and_stays_close(io: str) -> None:
    model = net()
    x = image()
    if io == "frame":
        model = to_frame_io(model, (110, 110, 110), (60, 60, 60), "rgb").model
        x = np.random.default_rng(0).integers(0, 256, (1, 8, 10, 3), np.uint8)
    proto = graphs.ir.to_proto(lower_unpooling(model).model)
    half = to_precision(graphs.ir.from_proto(proto), "fp16").model
    expected = graphs.run(graphs.ir.from_proto(proto), x, "onnxruntime")[0]
    for runtime in ("onnxruntime", "openvino"):
        got = graphs.run(half, x, runtime)[0]
        assert got.dtype == expected.dtype
        if io == "tensor":
            np.testing.assert_allclose(got, expected, atol=0.02)
        else:
            assert (got == expected).mean() >= 0.95


def upsampling(constant_node: bool) -> graphs.ir.Model:
    """Return a convolution and a bilinear Resize, its scales a Constant node or an initializer."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    held = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    nodes = [
        h.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        h.make_node("Resize", ["c", "", "scales"], ["logits"], mode="linear"),
    ]
    constants = [onnx.numpy_helper.from_array(weight, "w")]
    if constant_node:
        nodes.insert(0, h.make_node("Constant", [], ["scales"], value=held))
    else:
        constants.append(held)
    return graphs.model(nodes, {"x": [1, 3, 8, 10]}, {"logits": [1, 4, 16, 20]}, constants)


@pytest.mark.parametrize("constant_node", [False, True])
@pytest.mark.parametrize("precision", HALVES)
def test_scales_of_a_resize_stay_fp32(precision: str, constant_node: bool) -> None:
    model = to_precision(upsampling(constant_node), precision).model
    resize = next(node for node in model.graph if node.op_type == "Resize")
    assert resize.inputs[0].dtype == HALVES[precision]
    assert resize.inputs[2].dtype == graphs.ir.DataType.FLOAT
    if precision == "fp16":
        expected = graphs.run(upsampling(constant_node), image(), "onnxruntime")[0]
        for runtime in ("onnxruntime", "openvino"):
            np.testing.assert_allclose(graphs.run(model, image(), runtime)[0], expected, atol=0.02)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("form", ["lowered", "plugin"])
def test_everything_between_input_and_output_is_half(form: str, precision: str) -> None:
    rewrite = lower_unpooling if form == "lowered" else to_plugin_ops
    model = to_precision(rewrite(net()).model, precision).model
    found = graphs.operators(model)
    assert found.count("Cast") == 2  # the image down, the logits up
    assert (found[0], found[-1]) == ("Cast", "Cast")
    for node in list(model.graph)[1:-1]:
        for value in (*node.inputs, *node.outputs):
            if value is not None:
                assert value.dtype != graphs.ir.DataType.FLOAT, (node.op_type, value.name)
    assert model.graph.inputs[0].dtype == graphs.ir.DataType.FLOAT
    assert model.graph.outputs[0].dtype == graphs.ir.DataType.FLOAT
    assert model.graph.outputs[0].name == "logits"
    weights = {v.dtype for v in model.graph.initializers.values() if v.name.startswith("w")}
    assert weights == {HALVES[precision]}


def test_normalisation_and_argmax_stay_fp32() -> None:
    model = to_frame_io(net(), (110, 110, 110), (60, 60, 60), "rgb").model
    model = to_precision(lower_unpooling(model).model, "fp16").model
    kinds = {n.op_type: n.inputs[0].dtype for n in model.graph if n.op_type in ("Sub", "ArgMax")}
    assert set(kinds.values()) == {graphs.ir.DataType.FLOAT}


def test_weight_that_overflows_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedModelError, match=r"'w'.*bf16"):
        to_precision(lower_unpooling(net(1e6)).model, "fp16")
    to_precision(lower_unpooling(net(1e6)).model, "bf16")


def test_fp32_changes_nothing_and_other_names_are_refused() -> None:
    assert to_precision(net(), "fp32").changed == 0
    with pytest.raises(InputError, match="fp8"):
        to_precision(net(), "fp8")


def test_converting_twice_changes_nothing_more() -> None:
    once = to_precision(lower_unpooling(net()).model, "fp16").model
    assert to_precision(once, "fp16").changed == 0
    with pytest.raises(UnsupportedModelError, match="FLOAT16 already"):
        to_precision(once, "bf16")


def test_fp16_weights_halve_the_file(small_model: Path, tmp_path: Path) -> None:
    model = to_precision(lower_unpooling(graphs.ir.load(small_model)).model, "fp16").model
    graphs.ir.save(model, tmp_path / "half.onnx")
    assert (tmp_path / "half.onnx").stat().st_size < 0.7 * small_model.stat().st_size
