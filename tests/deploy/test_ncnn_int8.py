"""Quantised files in ncnn: exact integers, pairs that stay int8, labels as ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import graphs
import numpy as np
import onnx
import pytest
import torch
from onnx import helper as h
from torch.nn import functional as F

from segnet_deploy import runtimes
from segnet_deploy.errors import EngineError
from segnet_deploy.native import max_unpool
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_frame_io import to_frame_io
from segnet_deploy.passes.to_symmetric_int8 import to_symmetric_int8
from segnet_deploy.quant.calibration import calibrate
from segnet_deploy.quant.insert_qdq import insert_qdq
from segnet_deploy.quant.sites import find_sites
from segnet_deploy.runtimes.speed_measurement import measure
from segnet_deploy.scenes import draw_scene

pytestmark = pytest.mark.needs("ncnn")
Q, DQ = "QuantizeLinear", "DequantizeLinear"


def array(name: str, value: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.asarray(value, dtype), name)


def pair_of(value: str, step: str) -> list[onnx.NodeProto]:
    """Return Q and DQ of `value`; the result is `value`_dq."""
    return [
        h.make_node(Q, [value, step, "zero"], [f"{value}_q"], name=f"{value}_q"),
        h.make_node(DQ, [f"{value}_q", step, "zero"], [f"{value}_dq"], name=f"{value}_dq"),
    ]


def open_model(model: Any, tmp_path: Path, runtime: str = "ncnn") -> Any:
    path = tmp_path / "model.onnx"
    path.write_bytes(graphs.ir.to_proto(model).SerializeToString())
    return runtimes.open(path, runtime, threads=1)


def run(model: Any, x: Any, tmp_path: Path) -> dict[str, Any]:
    engine = open_model(model, tmp_path)
    found = {name: np.array(value) for name, value in engine.run_all(x).items()}
    engine.close()
    return found


def layers(engine: Any) -> list[str]:
    return [line for net in engine._program.nets for line in net.lines]


def integer_pair(shape: tuple[int, int, int, int], ceil_mode: bool) -> Any:
    """Return x quantised by 1, pooled, unpooled; both and the indices are outputs."""
    graph = graphs.ir.to_proto(graphs.standard_pair(shape, ceil_mode)).graph
    pool, unpool = graph.node
    pool.input[0], unpool.input[0] = "x_dq", "y_dq"
    nodes = [*pair_of("x", "one"), pool, *pair_of("y", "one"), unpool, *pair_of("z", "one")]
    constants = [*graph.initializer, array("one", 1), array("zero", 0, np.int8)]
    outputs = {"y_dq": ["n", "c", "a", "b"], "z_dq": list(shape)}
    model = graphs.model(nodes, {"x": list(shape)}, outputs, constants)
    proto = graphs.ir.to_proto(model)
    proto.graph.output.append(h.make_tensor_value_info("index", 7, ["n", "c", "a", "b"]))
    return graphs.ir.from_proto(proto)


@pytest.mark.parametrize("native", [True, False], ids=["native", "numpy"])
@pytest.mark.parametrize("ceil_mode", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize("shape", [*cases.SHAPES, (1, 24, 7, 9)], ids=str)
def test_pair_of_integers_equals_pytorch_on_the_table(
    shape: tuple[int, int, int, int],
    ceil_mode: bool,
    native: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not native:
        monkeypatch.setattr(max_unpool, "_library", lambda: None)
    engine = open_model(integer_pair(shape, ceil_mode), tmp_path)
    assert [line.split()[0] for line in layers(engine)].count("Quantize") == 1
    for values in cases.VALUES:
        x = cases.PoolCase(shape, ceil_mode, values).make()
        x = np.rint(np.clip(x * (1 if values in ("ties", "zeros") else 40), -127, 127))
        got = engine.run_all(x)
        y, index = F.max_pool2d(torch.from_numpy(x), 2, 2, 0, 1, ceil_mode, True)
        z = F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=list(shape[2:]))
        assert np.array_equal(got["y_dq"], y.numpy()), values
        assert np.array_equal(got["z_dq"], z.numpy()), values
        plane = shape[2] * shape[3]
        if not (ceil_mode and (shape[2] % 2 or shape[3] % 2)):  # else counted in even planes
            assert np.array_equal(got["index"] % plane, index), values
    engine.close()


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((16, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
    "3x3-unpacked": ((20, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    "3x3-classes": ((11, 24, 3, 3), {"pads": [1, 1, 1, 1]}),
    "1x1": ((8, 16, 1, 1), {}),
    "7x7": ((16, 8, 7, 7), {"pads": [3, 3, 3, 3]}),
    "strided": ((16, 8, 3, 3), {"strides": [2, 1], "pads": [0, 1, 1, 0]}),
    "dilated": ((8, 16, 3, 3), {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    "groups": ((16, 4, 3, 3), {"group": 2}),
}


def convolution(levels: Any, attributes: dict[str, Any], steps: Any, real: bool = False) -> Any:
    """Return Q, DQ -> Conv -> ReLU -> Q, DQ with int8 weights; `real` omits the last Q, DQ."""
    rows, columns = len(levels), levels.shape[1] * attributes.get("group", 1)
    x_step, w_steps, y_step = steps
    nodes = [
        *pair_of("x", "x_step"),
        h.make_node(DQ, ["levels", "w_steps", "zeros"], ["w"], axis=0),
        h.make_node("Conv", ["x_dq", "w", "bias"], ["c"], name="conv", **attributes),
        h.make_node("Relu", ["c"], ["y"]),
        *([] if real else pair_of("y", "y_step")),
    ]
    constants = [
        array("levels", levels, np.int8),
        array("w_steps", w_steps),
        array("zeros", np.zeros(rows), np.int8),
        array("zero", 0, np.int8),
        array("x_step", x_step),
        array("y_step", y_step),
        array("bias", np.linspace(-0.5, 1, rows)),
    ]
    output = {"y" if real else "y_dq": [1, rows, "h", "w"]}
    return graphs.model(nodes, {"x": [1, columns, 9, 13]}, output, constants)


def exact(x: Any, levels: Any, attributes: dict[str, Any], steps: Any) -> Any:
    """Return ReLU of the convolution of integers, in float64."""
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    sums = F.conv2d(
        F.pad(torch.from_numpy(x.astype(np.float64)), (left, right, top, bottom)),
        torch.from_numpy(levels.astype(np.float64)),
        stride=attributes.get("strides", 1),
        dilation=attributes.get("dilations", (1,))[0],
        groups=attributes.get("group", 1),
    ).numpy()
    column = (1, -1, 1, 1)
    real = sums * np.float64(steps[0]) * steps[1].reshape(column)
    return np.maximum(real + np.linspace(-0.5, 1, len(levels)).reshape(column), 0)


@pytest.mark.parametrize("real", [False, True], ids=["int8", "float"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_is_exact_but_for_the_last_rounding(
    name: str, real: bool, tmp_path: Path
) -> None:
    shape, attributes = CONVOLUTIONS[name]
    rng = np.random.default_rng(3)
    levels = rng.integers(-127, 128, shape)
    x = rng.integers(-127, 128, (1, shape[1] * attributes.get("group", 1), 9, 13))
    x_step, w_steps = np.float32(0.02), rng.uniform(0.001, 0.01, len(levels)).astype(np.float32)
    steps = (x_step, w_steps, np.float32(0.11))
    engine = open_model(convolution(levels, attributes, steps, real), tmp_path)
    if name != "groups":  # that one is computed in fp32
        term = "8=1" if real else "8=101"
        assert any(
            line.startswith("Convolution") and term in line.split() for line in layers(engine)
        )
    got = engine.run((x * x_step).astype(np.float32))
    wanted = exact(x, levels, attributes, steps)
    assert got.shape == wanted.shape
    if real:
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-5)
    else:
        assert np.abs(got / steps[2] - np.minimum(wanted / steps[2], 127)).max() < 0.5 + 1e-3
    engine.close()


def test_sums_beyond_what_winograd_holds_are_exact(tmp_path: Path) -> None:
    """F(4,3) keeps 576 times the sum in int32: up to 3.7 million. Here sums reach 9.3 million."""
    levels = np.full((8, 64, 3, 3), 127)
    x = np.full((1, 64, 9, 13), 127)
    steps = (np.float32(0.01), np.full(8, 1e-5, np.float32), np.float32(0.01))
    attributes = {"pads": [1, 1, 1, 1]}
    got = run(convolution(levels, attributes, steps), (x * steps[0]).astype(np.float32), tmp_path)
    wanted = exact(x, levels, attributes, steps) / steps[2]
    assert 90 < wanted.max() < 127 + 100
    assert np.abs(got["y_dq"] / steps[2] - np.minimum(wanted, 127)).max() < 0.5 + 1e-3


def normalised(count: int) -> list[Any]:
    frames = [draw_scene(seed, 45, 61).frame for seed in range(count)]
    return [(f.transpose(2, 0, 1)[None].astype(np.float32) - 110) / 60 for f in frames]


@pytest.fixture
def int8(small_model: Path) -> Callable[..., Any]:
    """Return a function that quantises a small SegNet; options are passed to insert_qdq."""

    def make(**options: Any) -> Any:
        model = graphs.ir.load(small_model)
        return insert_qdq(model, calibrate(model, normalised(3), "minmax"), **options).model

    return make


def agreement(model: Any, other: Any, tmp_path: Path) -> float:
    """Return the share of equal labels of `model` in ncnn and `other` in ONNX Runtime."""
    found = []
    for x in normalised(3):
        wanted = graphs.run(other, x, "onnxruntime")[0].argmax(1)
        found.append((next(iter(run(model, x, tmp_path).values())).argmax(1) == wanted).mean())
    return float(np.mean(found))


def test_network_stays_int8_and_has_onnxruntimes_labels(
    int8: Callable[..., Any], tmp_path: Path
) -> None:
    engine = open_model(int8(), tmp_path)
    kinds = [line.split()[0] for line in layers(engine)]
    assert kinds.count("Quantize") == 1  # the image
    assert not {"Cast", "ReLU", "Padding", "Crop"} & set(kinds)
    assert not any(net.keeps_ties for net in engine._program.nets)  # integers always do
    terms = [w for line in layers(engine) for w in line.split() if w.startswith("8=")]
    assert terms == ["8=101"] * 25 + ["8=1"]
    assert agreement(int8(), to_symmetric_int8(int8()).model, tmp_path) >= 0.99


@pytest.mark.parametrize("form", ["standard", "plugin"])
def test_forms_and_frames_give_the_same_labels(
    form: str, int8: Callable[..., Any], tmp_path: Path
) -> None:
    frame = draw_scene(0, 45, 61).frame
    tensor = normalised(1)[0]
    expected = next(iter(run(int8(), tensor, tmp_path).values())).argmax(1)
    model = to_frame_io(to_form(int8(), form).model, (110,) * 3, (60,) * 3, "bgr").model
    found = next(iter(run(model, frame[None], tmp_path).values()))
    assert found.dtype == np.uint8
    assert (found == expected).mean() > 0.99


def test_kept_layers_stay_fp32(int8: Callable[..., Any], small_model: Path, tmp_path: Path) -> None:
    names = [site.name for site in find_sites(graphs.ir.load(small_model).graph)]
    keep = (names[0], names[3], names[13], names[25])  # two before a pool, two after unpoolings
    engine = open_model(int8(keep=keep), tmp_path)
    terms = [w for line in layers(engine) for w in line.split() if w.startswith("8=")]
    assert len(terms) == 22
    assert agreement(int8(keep=keep), to_symmetric_int8(int8(keep=keep)).model, tmp_path) >= 0.99


def test_float_only_layers_are_computed_in_floats(tmp_path: Path) -> None:
    """A pool without indices, a crop, a pad, a transposed convolution: between integers."""
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        *pair_of("x", "one"),
        h.make_node("MaxPool", ["x_dq"], ["p"], name="pool", **window),
        *pair_of("p", "one"),
        h.make_node("Slice", ["p_dq", "from", "to", "axes"], ["s"], name="crop"),
        *pair_of("s", "one"),
        h.make_node("Pad", ["s_dq", "pads"], ["q"], name="pad"),
        *pair_of("q", "one"),
        h.make_node(DQ, ["levels", "steps", "zeros"], ["w"], axis=1),
        h.make_node("ConvTranspose", ["q_dq", "w"], ["y"], name="up", **window),
    ]
    levels = np.random.default_rng(0).integers(-9, 10, (8, 5, 2, 2))
    constants = [
        array("one", 1),
        array("zero", 0, np.int8),
        array("from", [0, 1], np.int64),
        array("to", [3, 4], np.int64),
        array("axes", [2, 3], np.int64),
        array("pads", [0, 0, 1, 0, 0, 0, 2, 3], np.int64),
        array("levels", levels, np.int8),
        array("steps", np.full(5, 0.5)),
        array("zeros", np.zeros(5), np.int8),
    ]
    model = graphs.model(nodes, {"x": [1, 8, 8, 10]}, {"y": [1, 5, 12, 12]}, constants)
    x = np.random.default_rng(1).integers(-127, 128, (1, 8, 8, 10)).astype(np.float32)
    wanted = graphs.run(model, x, "onnxruntime")[0]
    assert np.array_equal(run(model, x, tmp_path)["y"], wanted)


def test_auto_measures_ncnn_on_quantised_files(int8: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    graphs.ir.save(int8(), path)
    assert (measure(path, 1, ["ncnn"])["ncnn"] or 0) > 0


def test_lowered_file_is_refused_with_the_form_to_use(
    int8: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=r"ncnn does not support .* standard form"):
        open_model(to_form(int8(), "lowered").model, tmp_path)
