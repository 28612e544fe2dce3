"""Caffe nets that are refused: which layer, blob or size, and why."""

from __future__ import annotations

from pathlib import Path

import caffe_nets
import numpy as np
import pytest
from caffe_exports import SIZE, build, export

from segnet_deploy.errors import InputError, SegNetError, UnsupportedModelError


def test_changed_nets_are_built_or_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        name: caffe_nets.seeded(text, caffe_nets.size_of(name))
        for name, text in caffe_nets.NETS.items()
    }
    messages = []
    for number in range(300):
        name = list(weights)[number % len(weights)]
        text = caffe_nets.NETS[name]
        for _ in range(1 + number % 2):
            text = caffe_nets.mutate(text, rng)
        try:
            build(text, weights[name], tmp_path)
        except SegNetError as error:
            messages.append(str(error))
    assert 100 < len(messages) < 290
    assert not any("\n" in message for message in messages)


def test_layers_in_another_order_are_refused(tmp_path: Path) -> None:
    text = caffe_nets.HEAD + caffe_nets.conv("a", "b", 3) + caffe_nets.conv("b", "data", 3)
    with pytest.raises(UnsupportedModelError, match=r"'a' .* reads 'b', which no layer before"):
        build(text, {}, tmp_path)


def test_negative_variance_is_refused(tmp_path: Path) -> None:
    weights = {"out": [np.ones(3, np.float32), -np.ones(3, np.float32), np.ones(1, np.float32)]}
    with pytest.raises(UnsupportedModelError, match="variance is negative"):
        build(caffe_nets.one("BatchNorm"), weights, tmp_path)


def test_two_layers_of_one_name_are_refused(tmp_path: Path) -> None:
    same = "kernel_size: 1"
    text = caffe_nets.HEAD + caffe_nets.conv("conv", "data", 3, same)
    text += caffe_nets.conv("conv", "conv", 3, same)
    weights = caffe_nets.seeded(text, (1, 3, *SIZE))
    with pytest.raises(InputError, match="two layers with weights are called 'conv'"):
        build(text, weights, tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    text = caffe_nets.NETS["segnet"]
    weights = caffe_nets.seeded(text, (1, 3, *SIZE))
    weights["conv2"][1][0] = np.nan
    with pytest.raises(InputError, match=r"'conv2' .*bias \(blob 1\) contains NaN"):
        build(text, weights, tmp_path)


@pytest.mark.parametrize("sizes", ["1 3 90000 90000", "1 3 360 0", "1 99999999999 4 4"])
def test_absurd_image_is_refused(sizes: str, tmp_path: Path) -> None:
    text = "input: 'data' " + "".join(f"input_dim: {size}\n" for size in sizes.split())
    with pytest.raises(InputError, match="input"):
        build(text + caffe_nets.one("ReLU").removeprefix(caffe_nets.HEAD), {}, tmp_path)


def test_unknown_layers_are_named_with_their_types(tmp_path: Path) -> None:
    text = caffe_nets.one("Magic") + caffe_nets.one("SPP", top="b").splitlines()[-1]
    with pytest.raises(UnsupportedModelError, match=r"'out' \(Magic\), layer 'b' \(SPP\)"):
        build(text, {}, tmp_path)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", "STOCHASTIC"),
        ("Pooling", "pooling_param { kernel_size: 1 stride: 9 }", "lies outside"),
        ("Pooling", "pooling_param { kernel_size: 2 ceil: true }", "unknown field 'ceil'"),
        ("Crop", 'bottom: "data"', "no crop_param"),
        ("Crop", 'bottom: "data" crop_param { offset: 4 }', "too large"),
        ("ArgMax", "", "set axis: 1"),
        ("BN", "", "no weights for a layer of this name"),
        ("Convolution", "convolution_param { num_output: 2 kernel_size: 99 }", "no weights"),
        ("Interp", "interp_param { pad_beg: 1 }", "pad_beg"),
        ("Upsample", 'bottom: "data"', "not the mask"),
        ("Convolution", "convolution_param { num_output: many }", "num_output is 'many'"),
        ("Reshape", "reshape_param { shape { dim: 7 } }", "cannot reshape"),
    ],
)
def test_layer_that_is_not_exact_is_refused(
    kind: str, settings: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SegNetError, match=message):
        build(caffe_nets.one(kind, settings), {}, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("upsample_h: 7 upsample_w: 9", "upsample_h: 8 upsample_w: 9", "unpools to 8x9 .* 7x9"),
        ("upsample_h: 7 upsample_w: 9", "", r"unpools to 8x10"),
        ('bottom: "pool2_mask"', 'bottom: "pool1_mask"', "expected the same sizes"),
        ("kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2", "must not overlap"),
        ('bottom: "pool2_mask"', 'bottom: "nowhere"', "no layer before it computes"),
    ],
)
def test_unpooling_that_does_not_fit_is_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    text = caffe_nets.NETS["segnet"]
    weights = caffe_nets.seeded(text, (1, 3, *SIZE))
    with pytest.raises(SegNetError, match=message):
        build(text.replace(old, new), weights, tmp_path)


def test_weights_of_another_net_name_the_blob_and_both_shapes(tmp_path: Path) -> None:
    text = caffe_nets.NETS["segnet"]
    weights = caffe_nets.seeded(text, (1, 3, *SIZE))
    weights["conv2"][0] = weights["conv2"][0][:, :3]
    with pytest.raises(
        InputError, match=r"'conv2' .*weight \(blob 0\) .*\[6, 3, 3, 3\].* \[6, 4, 3, 3\]"
    ):
        export(text, weights, tmp_path)
    assert not (tmp_path / "net.onnx").exists()
