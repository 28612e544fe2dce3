"""Pairs as operators of ONNX Runtime: the rewritten graph, the engine, a missing library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx
import pytest
from onnx import helper as h

from segnet_deploy.errors import EngineError, UnsupportedModelError
from segnet_deploy.passes import contract
from segnet_deploy.passes.graph import add_initializer
from segnet_deploy.passes.pad_image_channels import pad_image_channels
from segnet_deploy.passes.to_onnxruntime_ops import to_onnxruntime_ops
from segnet_deploy.runtimes import onnxruntime as ort_engine
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.runtimes.onnxruntime import open_file

needs_ops = pytest.mark.needs("ort-ops")
SIZES = pytest.mark.parametrize("size", [(8, 12), (9, 7)], ids=str)


def quantised_net(size: tuple[int, int], zero: int = 0, unpool_scale: float = 0.02) -> Any:
    """Return conv, pool, conv, unpool, conv with Q/DQ around each, as a quantiser writes them."""
    rng = np.random.default_rng(0)
    nodes, constants = [], []

    def const(name: str, value: Any) -> str:
        constants.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        nodes.append(h.make_node(op, inputs, outputs, name=outputs[0], **attributes))

    def scale(name: str, value: float, zero_point: int) -> list[str]:
        step, point = np.float32(value), np.uint8(zero_point)
        return [const(f"{name}_scale", step), const(f"{name}_zero", point)]

    def requantise(x: str, y: str, scale: list[str]) -> None:
        node("QuantizeLinear", [x, *scale], [f"{y}_q"])
        node("DequantizeLinear", [f"{y}_q", *scale], [y])

    def conv(x: str, y: str, channels: tuple[int, int]) -> None:
        weight = rng.integers(-90, 91, (channels[1], channels[0], 3, 3)).astype(np.int8)
        scale = [const(f"{y}_ws", np.float32(0.01)), const(f"{y}_wz", np.int8(0))]
        node("DequantizeLinear", [const(f"{y}_w", weight), *scale], [f"{y}_wf"])
        node("Conv", [x, f"{y}_wf"], [y], pads=[1, 1, 1, 1])

    wide = {"kernel_shape": [2, 2], "strides": [2, 2]}
    first, second = scale("first", 0.02, zero), scale("second", 0.02, zero)
    third = scale("third", unpool_scale, zero)
    requantise("x", "x_dq", scale("image", 0.03, 128))
    conv("x_dq", "a", (3, 19))
    node("Relu", ["a"], ["b"])
    requantise("b", "c", first)
    node("MaxPool", ["c"], ["d", "index"], **wide)
    requantise("d", "e", first)
    conv("e", "f", (19, 19))
    node("Relu", ["f"], ["g"])
    requantise("g", "i", second)
    full = const("full", np.array([1, 19, *size]))
    node("MaxUnpool", ["i", "index", full], ["j"], **wide)
    requantise("j", "k", third)
    conv("k", "l", (19, 4))
    requantise("l", "y", scale("logits", 0.1, 128))
    shape = [1, 3, *size]
    return graphs.model(nodes, {"x": shape}, {"y": [1, 4, *size]}, constants)


def save(model: Any, path: Path) -> ModelFile:
    graphs.ir.save(model, path)
    return ModelFile.read(path)


def both(file: ModelFile, x: Any) -> tuple[Any, Any]:
    """Return the outputs of our operators and of ONNX Runtime's own."""
    ours, own = open_file(file, 1, operators=True), open_file(file, 1, operators=False)
    assert ours.operators
    assert not own.operators
    return np.array(ours.run(x)), np.array(own.run(x))


@needs_ops
@SIZES
def test_quantised_pairs_stay_integers_and_give_the_same(
    size: tuple[int, int], tmp_path: Path
) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, *size)).astype(np.float32)
    ours, own = both(save(quantised_net(size), tmp_path / "m.onnx"), x)
    assert np.array_equal(ours, own)


@needs_ops
def test_our_operators_are_between_quantised_convolutions_after_optimisation(
    tmp_path: Path,
) -> None:
    import onnxruntime

    file = save(quantised_net((8, 12)), tmp_path / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(ort_engine.operator_library()))
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(file.with_onnxruntime_ops(), options)
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    read_by = {name: node.op_type for node in graph.node for name in node.input}
    for node in graph.node:
        if node.domain == contract.DOMAIN:
            assert made_by[node.input[0]] == "QLinearConv"
            assert read_by[node.output[0]] == "QLinearConv"


@pytest.mark.parametrize("zero", [0, 3])
def test_image_is_padded_to_four_channels_and_the_result_is_the_same(zero: int) -> None:
    import onnxruntime

    x = np.random.default_rng(1).standard_normal((1, 3, 9, 7)).astype(np.float32)
    net = quantised_net((9, 7), zero)
    plain = graphs.ir.to_proto(net).SerializeToString()
    result = pad_image_channels(net)
    assert result.changed == 1  # the other convolutions keep their 19 channels
    assert graphs.operators(result.model).count("Pad") == 1
    padded = graphs.ir.to_proto(result.model).SerializeToString()
    found = [onnxruntime.InferenceSession(data).run(None, {"x": x})[0] for data in (plain, padded)]
    assert np.array_equal(*found)
    assert pad_image_channels(result.model).changed == 0


def test_image_with_weights_scaled_by_input_channel_is_not_padded() -> None:
    net = quantised_net((8, 12))
    weight = next(n for n in net.graph if n.outputs[0].name == "a_wf")
    for index, value in ((1, np.ones(3, np.float32)), (2, np.zeros(3, np.int8))):
        by_channel = add_initializer(net.graph, f"by_channel_{index}", value)
        weight.replace_input_with(index, by_channel)
    assert pad_image_channels(net).changed == 0


def test_pairs_of_one_scale_move_integers_with_channels_last() -> None:
    model = to_onnxruntime_ops(quantised_net((8, 12))).model
    ops = [node for node in model.graph if node.domain == contract.DOMAIN]
    assert [node.op_type for node in ops] == [contract.POOL, contract.UNPOOL]
    for node in ops:
        assert node.outputs[0].dtype == graphs.ir.DataType.UINT8
        assert node.attributes["channels_last"].as_int() == 1
    assert graphs.operators(model).count("QuantizeLinear") == 4  # 6 minus those of the pair


@needs_ops
def test_file_saved_in_this_form_runs_as_it_is_and_nowhere_else(tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 12)).astype(np.float32)
    file = save(quantised_net((8, 12)), tmp_path / "m.onnx")
    want = np.array(open_file(file, 1, operators=True).run(x))
    (tmp_path / "saved.onnx").write_bytes(file.with_onnxruntime_ops())
    saved = ModelFile.read(tmp_path / "saved.onnx")
    assert np.array_equal(open_file(saved, 1).run(x), want)
    with pytest.raises(UnsupportedModelError, match=r"SegNetMaxPool .* channels last"):
        saved.lowered()
    with pytest.raises(UnsupportedModelError, match=r"SegNetMaxPool .* channels last"):
        open_file(saved, 1, operators=False)


def test_other_zero_point_keeps_the_unpooling_in_floats() -> None:
    model = to_onnxruntime_ops(quantised_net((8, 12), zero=3)).model
    types = {
        node.op_type: node.outputs[0].dtype
        for node in model.graph
        if node.domain == contract.DOMAIN
    }
    kinds = graphs.ir.DataType
    assert types == {contract.POOL: kinds.UINT8, contract.UNPOOL: kinds.FLOAT}


def test_another_scale_after_the_unpooling_stays() -> None:
    model = to_onnxruntime_ops(quantised_net((8, 12), unpool_scale=0.05)).model
    assert graphs.operators(model).count("QuantizeLinear") == 5


@needs_ops
@pytest.mark.parametrize("dynamic", [False, True])
def test_float_pairs_run_unchanged_where_onnxruntime_rejects_them(
    dynamic: bool, tmp_path: Path
) -> None:
    model = graphs.standard_pair((2, 19, 9, 7), True, dynamic=dynamic)
    del model.graph.outputs[0]
    x = np.random.default_rng(0).standard_normal((2, 19, 9, 7)).astype(np.float32)
    ours, own = both(save(model, tmp_path / "m.onnx"), x)
    assert np.array_equal(ours, own)


@needs_ops
def test_plugin_form_runs_without_lowering(tmp_path: Path) -> None:
    from segnet_deploy.passes.to_plugin_ops import to_plugin_ops

    model = graphs.standard_pair((1, 3, 8, 6), False)
    del model.graph.outputs[0]
    file = save(to_plugin_ops(model).model, tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 6)).astype(np.float32)
    ours, lowered = both(file, x)
    assert np.array_equal(ours, lowered)


def test_missing_library_falls_back_to_the_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort_engine, "operator_library", lambda: None)
    model = graphs.standard_pair((1, 3, 8, 6), False)
    file = save(model, tmp_path / "m.onnx")
    engine = open_file(file, 1)
    assert not engine.operators
    assert not engine.lowered
    with pytest.raises(EngineError, match=r"install a C\+\+ compiler"):
        open_file(file, 1, operators=True)


def test_broken_library_falls_back_to_the_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "libsegnet_onnxruntime.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(ort_engine, "operator_library", lambda: broken)
    engine = open_file(save(graphs.standard_pair((1, 3, 8, 6), False), tmp_path / "m.onnx"), 1)
    assert not engine.operators
