"""Caffe nets of every kind, compared with a numpy interpreter of the same prototxt."""

from __future__ import annotations

from pathlib import Path

import caffe_nets
import caffe_reference
import numpy as np
import pytest
from caffe_exports import SIZE, build, export, run

from segnet_deploy import runtimes
from segnet_deploy.accuracy.expose_indices import write_indexed_model
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.scenes import draw_scene

WINDOWS = [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 3, 1), (5, 3, 2), (4, 1, 3)]
# Only sums of products in these nets: with integer weights float32 is exact, ties included.
EXACT = ("segnet", "train", "deconvnet", "fcn")


@pytest.mark.parametrize("name", list(caffe_nets.NETS))
def test_net_equals_the_numpy_interpreter(name: str, tmp_path: Path) -> None:
    text, shape = caffe_nets.NETS[name], caffe_nets.size_of(name)
    exact = name in EXACT
    weights = caffe_nets.seeded(text, shape, integer=exact)
    x = caffe_nets.image(shape, levels=4 if exact else 256)
    size = SIZE if name == "train" else None
    built = build(text, weights, tmp_path, size=size)
    (output, found), *others = run(built, x, tmp_path).items()
    expected = caffe_reference.run(text, weights, x)[output]
    assert not others
    assert found.shape == expected.shape
    if exact:
        np.testing.assert_array_equal(found, expected)
        assert len(np.unique(found)) > 10
    else:
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("height", "width"), [(13, 18), (14, 18), (15, 21)])
@pytest.mark.parametrize("form", ["standard", "lowered", "plugin"])
def test_every_form_is_exact_with_ties_and_odd_sizes(
    form: str, height: int, width: int, tmp_path: Path
) -> None:
    text = caffe_nets.NETS["segnet"].replace("upsample_h: 7 upsample_w: 9", "upsample_h: 7")
    text = text.replace(
        "input_dim: 13 input_dim: 18", f"input_dim: {height} input_dim: {width}"
    ).replace("upsample_h: 7", f"upsample_h: {-(-height // 2)} upsample_w: {-(-width // 2)}")
    text = text.replace("pad_out_h: true", f"upsample_h: {height} upsample_w: {width}")
    shape = (1, 3, height, width)
    weights = caffe_nets.seeded(text, shape, integer=True)
    x = caffe_nets.image(shape, levels=3)
    assert export(text, weights, tmp_path, form).conversion.agreement == 1
    with runtimes.open(tmp_path / "net.onnx", "onnxruntime", threads=1) as engine:
        found = engine.run(x)
    np.testing.assert_array_equal(found, caffe_reference.run(text, weights, x)["conv1_D"])


def test_masks_equal_those_of_caffe(tmp_path: Path) -> None:
    text, shape = caffe_nets.NETS["segnet"], (1, 3, *SIZE)
    weights = caffe_nets.seeded(text, shape, integer=True)
    x = caffe_nets.image(shape, levels=3)
    export(text, weights, tmp_path)
    indexed, file = write_indexed_model(tmp_path / "net.onnx", False, tmp_path)
    with runtimes.open(file, "onnxruntime") as engine:
        outputs = engine.run_all(x)
    blobs = caffe_reference.run(text, weights, x)
    for stage, size in enumerate((SIZE, (7, 9))):
        mask = indexed.plane_index(stage, outputs, size)
        np.testing.assert_array_equal(mask, blobs[f"pool{stage + 1}_mask"])


@pytest.mark.parametrize(
    "settings",
    [
        f"pool: {method} kernel_size: {kernel} stride: {stride} pad: {pad}"
        for method in ("MAX", "AVE")
        for kernel, stride, pad in WINDOWS
    ]
    + ["pool: AVE global_pooling: true", "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1"],
)
@pytest.mark.parametrize("size", [(13, 18), (7, 8), (6, 11)])
def test_pooling_rounds_and_clips_as_caffe(
    settings: str, size: tuple[int, int], tmp_path: Path
) -> None:
    text = caffe_nets.one("Pooling", f"pooling_param {{ {settings} }}")
    text = text.replace("input_dim: 13 input_dim: 18", f"input_dim: {size[0]} input_dim: {size[1]}")
    x = caffe_nets.image((1, 3, *size)) - 128
    found = run(build(text, {}, tmp_path), x, tmp_path)["out"]
    expected = caffe_reference.run(text, {}, x)["out"]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ReLU", ""),
        ("Dropout", "dropout_param { dropout_ratio: 0.3 }"),
        ("LRN", "lrn_param { local_size: 3 alpha: 0.01 beta: 0.5 k: 2 }"),
        ("LRN", "lrn_param { local_size: 3 alpha: 0.01 norm_region: WITHIN_CHANNEL }"),
        ("Softmax", ""),
        ("Sigmoid", ""),
        ("TanH", ""),
        ("Power", "power_param { scale: 0.5 shift: 9 power: 2 }"),
        ("Power", ""),
        ("ReLU", "relu_param { negative_slope: 0.25 }"),
        ("Eltwise", 'bottom: "data" eltwise_param { operation: PROD }'),
        ("Reshape", "reshape_param { shape { dim: 0 dim: 9 dim: -1 dim: 3 } }"),
        ("Interp", "interp_param { zoom_factor: 4 }"),
    ],
)
def test_layer_without_weights_equals_caffe(kind: str, settings: str, tmp_path: Path) -> None:
    text = caffe_nets.one(kind, settings)
    x = caffe_nets.image((1, 3, *SIZE)) / 16 - 8
    found = run(build(text, {}, tmp_path), x, tmp_path)["out"]
    np.testing.assert_allclose(found, caffe_reference.run(text, {}, x)["out"], rtol=1e-5, atol=1e-5)


def test_prelu_reads_a_slope_per_channel(tmp_path: Path) -> None:
    text = caffe_nets.one("PReLU")
    weights = {"out": [np.float32([0.5, -1, 2])]}
    x = caffe_nets.image((1, 3, *SIZE)) - 128
    found = run(build(text, weights, tmp_path), x, tmp_path)["out"]
    np.testing.assert_array_equal(found, caffe_reference.run(text, weights, x)["out"])


@pytest.mark.parametrize(
    ("name", "runtime"),
    [
        (name, runtime)
        for name in ("segnet", "bayesian", "basic", "fcn", "deeplab")
        for runtime in ("ncnn", "openvino", "onnxruntime")
        if (name, runtime) != ("fcn", "ncnn")  # its grouped deconvolution is none of ncnn's
    ],
)
def test_every_runtime_gives_the_labels_of_the_interpreter(
    name: str, runtime: str, tmp_path: Path
) -> None:
    text, shape = caffe_nets.NETS[name], caffe_nets.size_of(name)
    weights = caffe_nets.seeded(text, shape)
    export(text, weights, tmp_path)
    x = caffe_nets.image(shape)
    with runtimes.open(tmp_path / "net.onnx", runtime) as engine:
        found = engine.run(x)
        output = engine.outputs[0].name
    expected = caffe_reference.run(text, weights, x)[output]
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.98


def test_several_results_are_several_outputs(tmp_path: Path) -> None:
    text = caffe_nets.NETS["segnet"] + caffe_nets.conv("depth", "pool1_D", 1)
    weights = caffe_nets.seeded(text, (1, 3, *SIZE), integer=True)
    built = build(text, weights, tmp_path)
    x = caffe_nets.image((1, 3, *SIZE), levels=4)
    found, blobs = run(built, x, tmp_path), caffe_reference.run(text, weights, x)
    assert list(found) == ["conv1_D", "depth"]
    for name, value in found.items():
        np.testing.assert_array_equal(value, blobs[name])
    assert "several results (conv1_D, depth); labels are of the first" in built.notes[-1]


def test_layers_without_weights_may_share_a_name(tmp_path: Path) -> None:
    text = caffe_nets.NETS["segnet"].replace("conv2_relu", "conv1_relu")
    weights = caffe_nets.seeded(text, (1, 3, *SIZE), integer=True)
    x = caffe_nets.image((1, 3, *SIZE), levels=4)
    found = run(build(text, weights, tmp_path), x, tmp_path)["conv1_D"]
    np.testing.assert_array_equal(found, caffe_reference.run(text, weights, x)["conv1_D"])


def test_weights_that_no_layer_uses_are_named(tmp_path: Path) -> None:
    text = caffe_nets.NETS["segnet"]
    weights = caffe_nets.seeded(text, (1, 3, *SIZE)) | {"fc8": [np.zeros(3, np.float32)]}
    built = build(text, weights, tmp_path)
    assert "1 layers of the caffemodel are not in the net: fc8" in built.notes
    assert built.parameters == sum(b.size for n, w in weights.items() if n != "fc8" for b in w)


def test_inner_product_reads_old_shapes(tmp_path: Path) -> None:
    text = caffe_nets.one("InnerProduct", "inner_product_param { num_output: 4 }")
    rng = np.random.default_rng(0)
    weights = {"out": [rng.normal(size=(1, 1, 4, 3 * 13 * 18)), rng.normal(size=(1, 1, 1, 4))]}
    weights["out"] = [array.astype(np.float32) for array in weights["out"]]
    x = caffe_nets.image((1, 3, *SIZE)) / 256
    found = run(build(text, weights, tmp_path), x, tmp_path)["out"]
    expected = x.reshape(1, -1) @ weights["out"][0][0, 0].T + weights["out"][1][0, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_argmax_inside_a_net_takes_the_last_of_equal_values(tmp_path: Path) -> None:
    text = caffe_nets.NETS["segnet"] + (
        '\nlayer { name: "labels" type: "Power" bottom: "argmax" top: "labels" }'
    )
    weights = caffe_nets.seeded(text.replace("Power", "Split"), (1, 3, *SIZE), integer=True)
    weights["conv1_D"] = [array * 0 for array in weights["conv1_D"]]
    x = caffe_nets.image((1, 3, *SIZE))
    assert (run(build(text, weights, tmp_path), x, tmp_path)["labels"] == 4).all()


def test_file_records_how_the_net_was_trained(tmp_path: Path) -> None:
    text = caffe_nets.NETS["train"].replace(
        "include { phase: TEST }",
        "include { phase: TEST } transform_param { scale: 0.25 mean_value: 3 }",
    )
    weights = caffe_nets.seeded(text, (1, 3, *SIZE))
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    result = export(text, weights, tmp_path, size=SIZE, classes=str(tmp_path / "names.txt"))
    metadata = Metadata.from_props(dict(load_model(tmp_path / "net.onnx").metadata_props))
    assert (result.classes, result.size) == (5, SIZE)
    assert (metadata.mean, metadata.std, metadata.channel_order) == ((3.0,) * 3, (4.0,) * 3, "bgr")
    assert metadata.classes == ("a", "b", "c", "d", "e")


def test_raw_bgr_is_the_default_and_frame_io_works(tmp_path: Path) -> None:
    text = caffe_nets.NETS["segnet"]
    weights = caffe_nets.seeded(text, (1, 3, *SIZE))
    export(text, weights, tmp_path, "lowered", io="frame")
    metadata = Metadata.from_props(dict(load_model(tmp_path / "net.onnx").metadata_props))
    assert (metadata.mean, metadata.std) == ((0.0,) * 3, (1.0,) * 3)
    frame = draw_scene(2, *SIZE).frame
    with runtimes.open(tmp_path / "net.onnx", "onnxruntime") as engine:
        labels = engine.run(frame[None])
    x = np.ascontiguousarray(frame.transpose(2, 0, 1)[None], np.float32)
    expected = caffe_reference.run(text, weights, x)["conv1_D"].argmax(1)
    assert (labels == expected).mean() > 0.99


def test_dropout_is_left_out_or_kept_by_name(tmp_path: Path) -> None:
    text, shape = caffe_nets.NETS["pascal"], (1, 3, *SIZE)
    weights = caffe_nets.seeded(text, shape)
    plain = build(text, weights, tmp_path)
    kept = build(text, weights, tmp_path, keep_dropout=True)
    assert plain.dropouts == kept.dropouts == ("d1",)
    assert not [node for node in plain.model.graph if node.op_type == "Dropout"]
    (node,) = [node for node in kept.model.graph if node.op_type == "Dropout"]
    assert node.name == "d1"
    assert node.inputs[1].const_value.numpy() == np.float32(0.5)
    x = caffe_nets.image(shape)
    first, second = (run(model, x, tmp_path)["prob"] for model in (plain, kept))
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_another_size_moves_the_unpoolings(tmp_path: Path) -> None:
    text, size = caffe_nets.NETS["segnet"], (22, 27)
    weights = caffe_nets.seeded(text, (1, 3, *SIZE), integer=True)
    x = caffe_nets.image((1, 3, *size), levels=3)
    found = run(build(text, weights, tmp_path, size=size), x, tmp_path)["conv1_D"]
    text = text.replace("upsample_h: 7 upsample_w: 9", "upsample_h: 11 upsample_w: 14")
    text = text.replace("pad_out_h: true", "pad_out_w: true")
    np.testing.assert_array_equal(found, caffe_reference.run(text, weights, x)["conv1_D"])


def test_batch_of_the_file_is_the_one_requested(tmp_path: Path) -> None:
    text = caffe_nets.NETS["bayesian"]
    weights = caffe_nets.seeded(text, (1, 3, *SIZE))
    shapes = [build(text, weights, tmp_path, batch=n).model.graph.inputs[0].shape for n in (1, 3)]
    assert [shape[0] for shape in shapes] == [1, 3]


def test_dropout_layers_are_sampled_with_the_masks_of_the_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, shape = caffe_nets.NETS["pascal"], caffe_nets.size_of("pascal")
    weights = caffe_nets.seeded(text, shape)
    result = export(text, weights, tmp_path, mc_dropout=2)
    x = caffe_nets.image(shape)
    with runtimes.open(tmp_path / "net.onnx", "onnxruntime") as engine:
        assert engine.masks is not None
        masks = list(engine.masks.at(0).values())
        found = np.array(engine.run(x))
    assert len(masks) == len(result.model.dropouts) == 1
    samples = []
    for number in range(2):
        remaining = iter(masks)
        monkeypatch.setitem(
            caffe_reference._FUNCTIONS,
            "Dropout",
            lambda _, bottoms, __, n=number, left=remaining: [2 * bottoms[0] * next(left)[n]],
        )
        output = list(caffe_reference.run(text, weights, x).values())[-1]
        exponentials = np.exp(output - output.max(1, keepdims=True))
        ends = output if 'type: "Softmax"' in text else exponentials
        samples.append(ends / ends.sum(1, keepdims=True))
    np.testing.assert_allclose(found, np.mean(samples, axis=0), atol=1e-4)
