"""INT8: where Q/DQ come to lie, how weights and biases round, the forms, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import graphs
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper as h

from segnet_deploy.accuracy.agreement import Agreement, arithmetic, check_agreement, compare_labels
from segnet_deploy.errors import InputError, ParityError, UnsupportedModelError
from segnet_deploy.passes.graph import constant
from segnet_deploy.passes.remove_dropout import remove_dropout
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_precision import is_quantised, to_precision
from segnet_deploy.quant import METHODS
from segnet_deploy.quant.bias_correction import bias_shift
from segnet_deploy.quant.calibration import Statistics, calibrate
from segnet_deploy.quant.insert_qdq import Scale, insert_qdq, weight_scales
from segnet_deploy.quant.quantiser import Quantiser, read_calibration
from segnet_deploy.quant.sites import find_sites
from segnet_deploy.scenes import draw_scene

Q, DQ = "QuantizeLinear", "DequantizeLinear"


@pytest.fixture(scope="module")
def statistics() -> Statistics:
    return calibrate(graphs.small_net(), graphs.random_images(), "minmax")


def quantised(statistics: Statistics, **options: object) -> ir.Model:
    return insert_qdq(graphs.small_net(), statistics, **options).model  # type: ignore[arg-type]


def folder(path: Path, count: int = 4) -> Path:
    path.mkdir()
    for seed in range(count):
        cv2.imwrite(str(path / f"{seed}.png"), draw_scene(seed, 45, 61).frame)
    return path


def test_one_scale_from_relu_to_the_next_convolution(statistics: Statistics) -> None:
    model = quantised(statistics)
    onnx.checker.check_model(ir.to_proto(model))
    for op_type, source in (("MaxPool", "r"), ("MaxUnpool", "s")):
        node = next(n for n in model.graph if n.op_type == op_type)
        before, after = node.inputs[0].producer(), node.outputs[0].uses()[0].node
        behind = after.outputs[0].uses()[0].node
        assert [before.op_type, after.op_type, behind.op_type] == [DQ, Q, DQ]
        assert behind.outputs[0].uses()[0].node.op_type == "Conv"
        for other in (before, after, behind):
            assert other.inputs[1].name == f"{source}_scale"
            assert constant(other.inputs[2]).dtype == np.uint8
            assert constant(other.inputs[2]) == 0
    index = next(n for n in model.graph if n.op_type == "MaxPool").outputs[1]
    assert [use.node.op_type for use in index.uses()] == ["MaxUnpool"]


def test_input_has_a_zero_point_and_weights_have_none(statistics: Statistics) -> None:
    model = quantised(statistics)
    first = next(n for n in model.graph if n.op_type == Q)
    assert 100 < constant(first.inputs[2]) < 155  # a normalised image has both signs
    for conv in (n for n in model.graph if n.op_type == "Conv"):
        weight, bias = conv.inputs[1].producer(), conv.inputs[2].producer()
        assert constant(weight.inputs[0]).dtype == np.int8
        assert not constant(weight.inputs[2]).any()
        assert constant(weight.inputs[1]).shape == (conv.outputs[0].shape[1],)
        assert constant(bias.inputs[0]).dtype == np.int32


def test_convolutions_that_share_weights_have_a_bias_each() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((3, 3, 3, 3)) * 0.3).astype(np.float32)
    nodes = [
        h.make_node("Conv", ["x", "a.weight"], ["c"], pads=[1] * 4),
        h.make_node("Relu", ["c"], ["r"]),
        h.make_node("Conv", ["r", "a.weight"], ["logits"], pads=[1] * 4),
    ]
    sizes = {"x": [1, 3, 8, 10]}, {"logits": [1, 3, 8, 10]}

    def shared() -> ir.Model:
        return graphs.model(nodes, *sizes, [onnx.numpy_helper.from_array(weight, "a.weight")])

    model = insert_qdq(shared(), calibrate(shared(), graphs.random_images(), "minmax")).model
    first, second = (n.inputs[2].producer() for n in model.graph if n.op_type == "Conv")
    assert not np.array_equal(constant(first.inputs[0]), constant(second.inputs[0]))
    x = graphs.random_images(1)[0]
    got, expected = (graphs.run(m, x, "onnxruntime")[0] for m in (model, shared()))
    assert np.abs(got - expected).mean() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("method", METHODS)
def test_calibration_methods_give_ranges_inside_what_was_seen(method: str) -> None:
    seen = calibrate(graphs.small_net((24, 32)), graphs.random_images(2, (24, 32)), "minmax").ranges
    found = calibrate(graphs.small_net((24, 32)), graphs.random_images(2, (24, 32)), method).ranges
    assert found.keys() == seen.keys() == {"x", "r", "s"}
    for name, (low, high) in found.items():
        assert seen[name][0] <= low <= high <= seen[name][1] + 1e-6, name
        assert high > 0


def test_scale_has_zero_exactly_and_covers_the_range() -> None:
    assert Scale.of(0.0, 0.0).step == 1  # a dead layer
    for low, high in ((0.0, 5.0), (-2.1, 2.6), (1.0, 3.0), (-3.0, -1.0)):
        scale = Scale.of(low, high)
        assert 0 <= scale.zero_point <= 255
        assert (0 - scale.zero_point) * scale.step <= low + scale.step
        assert (255 - scale.zero_point) * scale.step >= high - scale.step


@pytest.mark.parametrize("channels", [3, 6])
def test_neighbouring_weights_cannot_saturate_int16(channels: int) -> None:
    weight = np.random.default_rng(0).standard_normal((5, channels, 3, 3)).astype(np.float32)
    levels = np.rint(weight / weight_scales(weight)[:, None, None, None])
    pairs = levels if channels == 3 else levels[:, 0::2] + levels[:, 1::2]
    assert 255 * (2 * abs(levels).max() if channels == 3 else abs(pairs).max()) < 2**15
    full = np.rint(weight / weight_scales(weight, full_range=True)[:, None, None, None])
    assert abs(full).max() == 127


def test_bias_takes_back_the_mean_shift_of_rounding() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3, 1, 1))
    rounded, x = np.round(weight), rng.random((1000, 3))
    shift = bias_shift(weight, rounded, x.mean(0))
    wanted, got = x @ weight[..., 0, 0].T, x @ rounded[..., 0, 0].T + shift
    np.testing.assert_allclose(got.mean(0), wanted.mean(0), atol=1e-12)
    grouped = bias_shift(weight[:, :1], rounded[:, :1], np.array([1.0, 2.0]))  # two groups
    np.testing.assert_allclose(grouped, (weight - rounded)[:, 0, 0, 0] * [1, 1, 2, 2])


def test_channel_of_tiny_weights_keeps_its_bias() -> None:
    model = graphs.small_net(bias=1e6)
    for name in ("a.weight", "k.weight"):
        value = model.graph.initializers[name]
        value.const_value = ir.tensor(value.const_value.numpy() * 1e-9, name=name)
    found = calibrate(model, graphs.random_images(), "minmax")
    model = insert_qdq(model, found).model
    bias = next(n for n in model.graph if n.op_type == "Conv").inputs[2].producer()
    real = constant(bias.inputs[0]) * constant(bias.inputs[1]).astype(np.float64)
    wanted = graphs.small_net(bias=1e6).graph.initializers["a.bias"].const_value.numpy()
    np.testing.assert_allclose(real, wanted, rtol=1e-4)


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("form", ["standard", "lowered", "plugin"])
def test_forms_of_int8_stay_close_in_both_runtimes(form: str, statistics: Statistics) -> None:
    model = to_form(quantised(statistics), form).model
    if form == "plugin":
        kinds = {n.op_type: n.inputs[0].dtype for n in model.graph if n.domain}
        assert kinds == dict.fromkeys(("SegNetMaxPool", "SegNetMaxUnpool"), ir.DataType.UINT8)
        model = to_form(model, "lowered").model
    x = graphs.random_images(1)[0]
    wanted = graphs.run(graphs.small_net(), x, "onnxruntime")[0]
    for runtime in ("onnxruntime",) if form == "standard" else ("onnxruntime", "openvino"):
        got = graphs.run(model, x, runtime)[0]
        assert np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()


def test_lowered_pairs_work_on_integers(statistics: Statistics) -> None:
    model = to_form(quantised(statistics), "lowered").model
    for node in model.graph:
        if node.op_type in ("SpaceToDepth", "Max", "Where", "DepthToSpace"):
            assert node.outputs[0].dtype == ir.DataType.UINT8, node.op_type
    floats = to_form(quantised(statistics), "lowered", integers=False).model
    x = graphs.random_images(1)[0]
    for runtime in ("onnxruntime", "openvino"):
        got = [graphs.run(m, x, runtime)[0] for m in (model, floats)]
        np.testing.assert_array_equal(got[0], got[1])


def test_onnxruntime_has_nothing_but_integers_between_convolutions(
    statistics: Statistics, tmp_path: Path
) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    model = to_form(quantised(statistics), "lowered").model
    onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    found = [node.op_type for node in nodes]
    assert found.count("QLinearConv") == 2  # the classifier gives floats
    assert [node.input[0] for node in nodes if node.op_type == Q] == ["x"]
    converted = {node.input[0] for node in nodes if node.op_type == DQ}
    assert not converted & {"r_q", "s_q"}


@pytest.mark.needs("openvino")
def test_openvino_has_nothing_but_integers_between_convolutions(statistics: Statistics) -> None:
    import openvino

    core = openvino.Core()
    data = ir.to_proto(to_form(quantised(statistics), "lowered").model).SerializeToString()
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_NUM_THREADS": 1})
    kinds: dict[str, set[str]] = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = {key: value.astype(str) for key, value in node.get_rt_info().items()}
        kinds.setdefault(info["layerType"], set()).add(info["runtimePrecision"])
    for layer in ("Convolution", "SpaceToDepth", "Split", "Concatenation", "DepthToSpace"):
        assert kinds[layer] == {"u8"}, (layer, kinds)


def test_kept_layer_stays_fp32_and_reads_floats(statistics: Statistics) -> None:
    assert [site.name for site in find_sites(graphs.small_net().graph)] == ["a", "b", "k"]
    model = quantised(statistics, keep=("b",))
    kept = next(n for n in model.graph if n.outputs[0].name == "d")
    assert constant(kept.inputs[1]).dtype == np.float32
    assert kept.inputs[0].producer().op_type == "MaxPool"


def test_precision_pass_knows_quantised_files(statistics: Statistics) -> None:
    model = quantised(statistics)
    assert is_quantised(model)
    assert to_precision(model, "int8").changed == 0
    with pytest.raises(UnsupportedModelError, match="quantised to int8"):
        to_precision(model, "fp16")
    with pytest.raises(UnsupportedModelError, match="--calib"):
        to_precision(graphs.small_net(), "int8")


def test_values_that_are_not_finite_are_refused_by_name() -> None:
    model = graphs.small_net()
    value = model.graph.initializers["b.weight"]
    broken = value.const_value.numpy().copy()
    broken[0, 0, 0, 0] = np.nan
    value.const_value = ir.tensor(broken, name="b.weight")
    with pytest.raises(UnsupportedModelError, match=r"'b\.weight' contains NaN"):
        calibrate(model, graphs.random_images(), "minmax")
    with pytest.raises(UnsupportedModelError, match="'x' is not finite"):
        calibrate(graphs.small_net(), [np.full((1, 3, 8, 10), np.inf, np.float32)], "minmax")
    with pytest.raises(InputError, match="average"):
        calibrate(graphs.small_net(), graphs.random_images(), "average")


def test_calibration_folder_is_read_and_bad_ones_are_refused(
    tmp_path: Path,
) -> None:
    good = folder(tmp_path / "good")
    assert len(read_calibration(good, 3)) == 3
    cv2.imwrite(str(good / "blank.png"), np.full((45, 61, 3), 90, np.uint8))
    reported: list[str] = []
    assert len(read_calibration(good, 9, lambda text, *_: reported.append(text))) == 4
    assert "blank.png" in reported[0]
    blank = tmp_path / "blank"
    blank.mkdir()
    with pytest.raises(InputError, match="contains no image"):
        read_calibration(blank, 3)
    cv2.imwrite(str(blank / "a.png"), np.full((45, 61, 3), 90, np.uint8))
    with pytest.raises(InputError, match="have a single colour"):
        read_calibration(blank, 3)
    (blank / "b.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"b\.png"):
        read_calibration(blank, 3)
    with pytest.raises(InputError, match="nowhere"):
        read_calibration(tmp_path / "nowhere", 3)
    with pytest.raises(InputError, match="--calib-frames 0"):
        read_calibration(good, 0)


def test_file_is_gated_in_every_runtime_and_refused_below_the_limit(
    small_model: Path, tmp_path: Path
) -> None:
    quantiser = Quantiser(small_model, read_calibration(folder(tmp_path / "images"), 4))
    target = tmp_path / "int8.onnx"
    done = quantiser.write_checked(target, "lowered", 0.5)
    assert {row.runtime for row in done.agreement} >= {"onnxruntime"}
    assert done.int8 == 26
    assert target.stat().st_size < 0.5 * small_model.stat().st_size
    target.unlink()
    with pytest.raises(ParityError, match=r"limit 100\.10%"):
        quantiser.write_checked(target, "lowered", 1.001)
    assert not target.exists()
    quantiser.write_checked(target, "standard", 0.5)
    with pytest.raises(UnsupportedModelError, match="start from the fp32 file"):
        Quantiser(target, quantiser.frames)


def test_agreement_of_a_file_with_itself_is_whole(small_model: Path) -> None:
    frames = [draw_scene(0, 45, 61).frame]
    rows = compare_labels(small_model, small_model, frames, ["onnxruntime"])
    assert [row.shares for row in rows] == [(1.0,)]
    check_agreement(rows, 1.0, "fp32", "")
    with pytest.raises(ParityError, match="keeps only 50"):
        check_agreement([Agreement("openvino", False, (0.4, 0.6))], 0.93, "int8", "")
    assert arithmetic("fp16", half=False) == "weight rounding only"
    assert arithmetic("fp16", half=True) == "fp16"


def test_dropout_of_a_trained_network_is_removed() -> None:
    """OpenVINO's process ended where one was between a DequantizeLinear and a QuantizeLinear."""
    model = graphs.ir.to_proto(graphs.small_net())
    off = onnx.numpy_helper.from_array(np.array(False), "off")
    model.graph.initializer.append(off)
    for name, inputs in (("s", ["s", "", "off"]), ("r", ["r"])):
        for node in model.graph.node:
            node.input[:] = [f"{name}_kept" if value == name else value for value in node.input]
        dropout = h.make_node("Dropout", inputs, [f"{name}_kept"])
        model.graph.node.insert(5 if name == "s" else 2, dropout)
    network = graphs.ir.from_proto(model)
    x = graphs.random_images(1)[0]
    expected = graphs.run(network, x, "onnxruntime")[0]
    result = remove_dropout(network)
    assert result.changed == 2
    assert "Dropout" not in graphs.operators(result.model)
    assert np.array_equal(graphs.run(result.model, x, "onnxruntime")[0], expected)
    training = graphs.ir.to_proto(graphs.small_net())
    training.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "on"))
    training.graph.node.insert(2, h.make_node("Dropout", ["r", "", "on"], ["random"]))
    training.graph.node[3].input[0] = "random"
    assert remove_dropout(graphs.ir.from_proto(training)).changed == 0
