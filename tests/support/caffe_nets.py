"""Small nets of every kind as prototxts, and seeded weights for any prototxt."""

from __future__ import annotations

import re
from typing import Any

import caffe_reference
import numpy as np

Weights = dict[str, list[Any]]


def seeded(text: str, image: tuple[int, ...], seed: int = 0, integer: bool = False) -> Weights:
    """Return weights for the net of `text`, whose input is `image`.

    `integer` weights are -1, 0 and 1, and BN scales 1 and -1, so that float32 sums are exact.
    Otherwise each layer keeps the variance of what it reads, as statistics in BN layers do.
    """
    rng = np.random.default_rng(seed)
    found: Weights = {}
    for name, shapes in caffe_reference.shapes(text, image).items():
        blobs = []
        for number, shape in enumerate(shapes):
            is_kernel = (len(shape) == 4 and shape[0] * shape[2] * shape[3] > 1) or len(shape) == 2
            if shape == (1,):
                array = np.ones(shape)
            elif integer:
                array = rng.integers(-1, 2, shape) if is_kernel else rng.choice((-1.0, 1.0), shape)
            elif is_kernel:
                array = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
            else:
                is_shift = number == 1 and len(shapes) == 2
                array = rng.normal(0, 0.3, shape) if is_shift else rng.uniform(0.6, 1.4, shape)
            blobs.append(array.astype(np.float32))
        found[name] = blobs
    if not integer and "BN" in text:
        first = next((name for name in found if len(found[name][0].shape) == 4), None)
        if first is not None:  # an image of 0-255 becomes values of about 1
            found[first][0] /= np.float32(100)
    return found


def image(shape: tuple[int, ...], seed: int = 1, levels: int = 256) -> Any:
    """Return an image of `levels` integer values, as float32: few levels make many ties."""
    return np.random.default_rng(seed).integers(0, levels, shape).astype(np.float32)


def conv(name: str, bottom: str, outputs: int, extra: str = "pad: 1 kernel_size: 3") -> str:
    """Return the text of a convolution."""
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
        f"param {{ lr_mult: 1 }} convolution_param {{ num_output: {outputs} {extra} "
        'weight_filler { type: "msra" } } }\n'
    )


def bn_relu(blob: str, relu: bool = True, mode: str = "bn_mode: INFERENCE") -> str:
    """Return the text of BN, and of a ReLU after it, both in place."""
    text = (
        f'layer {{ name: "{blob}_bn" type: "BN" bottom: "{blob}" top: "{blob}" '
        f"bn_param {{ {mode} }} }}\n"
    )
    if relu:
        text += f'layer {{ name: "{blob}_relu" type: "ReLU" bottom: "{blob}" top: "{blob}" }}\n'
    return text


def pool(name: str, bottom: str) -> str:
    """Return the text of a 2x2 pool with a mask."""
    return (
        f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" '
        f'top: "{name}_mask" pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}\n'
    )


def unpool(name: str, bottom: str, mask: str, settings: str = "scale: 2") -> str:
    """Return the text of an Upsample."""
    return (
        f'layer {{ name: "{name}" type: "Upsample" bottom: "{bottom}" bottom: "{mask}" '
        f'top: "{name}" upsample_param {{ {settings} }} }}\n'
    )


def drop(name: str, blob: str) -> str:
    """Return the text of a dropout in place that also samples in tests, as the Bayesian nets do."""
    return (
        f'layer {{ name: "{name}" type: "Dropout" bottom: "{blob}" top: "{blob}" '
        "dropout_param { dropout_ratio: 0.5 sample_weights_test: true } }\n"
    )


def one(kind: str, settings: str = "", bottoms: str = 'bottom: "data"', top: str = "out") -> str:
    """Return a net of one layer on a blob of the input."""
    layer = f'layer {{ name: "{top}" type: "{kind}" {bottoms} top: "{top}" {settings} }}\n'
    return HEAD + layer


def head(size: tuple[int, int]) -> str:
    """Return the start of a net with an input of `size`, (height, width)."""
    return (
        'name: "net"  # a comment\n'
        f'input: "data" input_dim: 1 input_dim: 3 input_dim: {size[0]} input_dim: {size[1]}\n'
    )


HEAD = head((13, 18))
_ARGMAX = """layer { name: "argmax" type: "ArgMax" bottom: "%s" top: "argmax"
  argmax_param { axis: 1 } }"""
_SOFTMAX = """layer { name: "prob" type: "Softmax" bottom: "%s" top: "prob"
  softmax_param {engine: CAFFE} }"""

SEGNET = (
    HEAD
    + conv("conv1", "data", 4)
    + bn_relu("conv1")
    + pool("pool1", "conv1")
    + conv("conv2", "pool1", 6)
    + bn_relu("conv2")
    + pool("pool2", "conv2")
    + unpool("pool2_D", "pool2", "pool2_mask", "scale: 2 upsample_h: 7 upsample_w: 9")
    + conv("conv2_D", "pool2_D", 4)
    + bn_relu("conv2_D")
    + unpool("pool1_D", "conv2_D", "pool1_mask", "scale: 2 pad_out_h: true")
    + conv("conv1_D", "pool1_D", 5)
)
"""SegNet's pattern with two stages and odd sizes, as in the web demo, without its ArgMax."""

NETS = {
    "segnet": SEGNET + _ARGMAX % "conv1_D",
    "bayesian": SEGNET.replace(
        "input_dim: 1 input_dim: 3 input_dim: 13 input_dim: 18",
        "input_shape { dim: 4 dim: 3 dim: 13 dim: 18 }",
    )
    + drop("drop1", "conv1_D")
    + _SOFTMAX % "conv1_D",
    "pascal": SEGNET.replace(pool("pool1", "conv1"), drop("d1", "conv1") + pool("pool1", "conv1"))
    + _SOFTMAX % "conv1_D",
    "basic": HEAD
    + 'layer { name: "norm" type: "LRN" bottom: "data" top: "norm" '
    + "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 } }\n"
    + conv("conv1", "norm", 4, "kernel_size: 7 pad: 3")
    + bn_relu("conv1")
    + pool("pool1", "conv1")
    + unpool("up1", "pool1", "pool1_mask", "scale: 2 pad_out_h: true")
    + conv("decode1", "up1", 4, "kernel_size: 7 pad: 3")
    + bn_relu("decode1", relu=False)
    + conv("classifier", "decode1", 5, "kernel_size: 1")
    + _ARGMAX % "classifier",
    "train": 'layer { name: "data" type: "DenseImageData" top: "data" top: "label" '
    'include: { phase: TRAIN } dense_image_data_param { source: "/a" batch_size: 4 } }\n'
    'layer { name: "data" type: "DenseImageData" top: "data" top: "label" '
    'include { phase: TEST } dense_image_data_param { source: "/b" batch_size: 2 } }\n'
    + SEGNET.removeprefix(HEAD)
    + 'layer { name: "extra" type: "Crop" bottom: "conv1_D" top: "x" exclude { phase: TEST } }\n'
    + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv1_D" bottom: "label" top: "loss" '
    "loss_param: { ignore_label: 11 class_weighting: .5 } }\n"
    'layer { name: "accuracy" type: "Accuracy" bottom: "conv1_D" bottom: "label" top: "accuracy" }',
    "deconvnet": """
input: 'data' input_dim: 1 input_dim: 3 input_dim: 12 input_dim: 12
layers { bottom: 'data' top: 'conv1' name: 'conv1' type: CONVOLUTION blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 4 pad: 1 kernel_size: 3 } }
layers { bottom: 'conv1' top: 'conv1' name: 'bn1' type: BN bn_param { bn_mode: INFERENCE } }
layers { bottom: 'conv1' top: 'conv1' name: 'relu1' type: RELU }
layers { bottom: 'conv1' top: 'pool1' top: 'pool1_mask' name: 'pool1' type: POOLING
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layers { bottom: 'pool1' top: 'fc' name: 'fc' type: CONVOLUTION
  convolution_param { kernel_size: 6 num_output: 8 } }
layers { bottom: 'fc' top: 'fc' name: 'fc_relu' type: RELU }
layers { bottom: 'fc' top: 'fc-deconv' name: 'fc-deconv' type: DECONVOLUTION
  convolution_param { num_output: 4 kernel_size: 6 } }
layers { type: UNPOOLING bottom: 'fc-deconv' bottom: 'pool1_mask' top: 'unpool1' name: 'unpool1'
  unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 12 } }
layers { bottom: 'unpool1' top: 'deconv1' name: 'deconv1' type: DECONVOLUTION
  convolution_param { num_output: 4 pad: 1 kernel_size: 3 } }
layers { bottom: 'deconv1' top: 'deconv1' name: 'debn1' type: BN bn_param { bn_mode: INFERENCE } }
layers { name: 'score' type: CONVOLUTION bottom: 'deconv1' top: 'seg-score'
  convolution_param { num_output: 5 kernel_size: 1 } }
""",
    "fcn": """
layer { name: "input" type: "Input" top: "data"
  input_param { shape: { dim: 1 dim: 3 dim: 20 dim: 23 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 pad: 10 kernel_size: 3 stride: 1 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "pool2" type: "Pooling" bottom: "pool1" top: "pool2"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc6" type: "Convolution" bottom: "pool2" top: "fc6"
  convolution_param { num_output: 6 kernel_size: 5 } }
layer { name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }
layer { name: "score2" type: "Convolution" bottom: "fc6" top: "score2"
  convolution_param { num_output: 5 kernel_size: 1 } }
layer { name: "upscore2" type: "Deconvolution" bottom: "score2" top: "upscore2"
  convolution_param { num_output: 5 bias_term: false kernel_size: 4 stride: 2 } }
layer { name: "score1" type: "Convolution" bottom: "pool1" top: "score1"
  convolution_param { num_output: 5 kernel_size: 1 } }
layer { name: "score1c" type: "Crop" bottom: "score1" bottom: "upscore2" top: "score1c"
  crop_param { axis: 2 offset: 3 } }
layer { name: "fuse" type: "Eltwise" bottom: "upscore2" bottom: "score1c" top: "fuse"
  eltwise_param { operation: SUM } }
layer { name: "upscore" type: "Deconvolution" bottom: "fuse" top: "upscore"
  convolution_param { num_output: 5 group: 5 bias_term: false kernel_size: 4 stride: 2 } }
layer { name: "score" type: "Crop" bottom: "upscore" bottom: "data" top: "score"
  crop_param { axis: 2 offset: 4 } }
""",
    "deeplab": """
input: "data" input_dim: 1 input_dim: 3 input_dim: 17 input_dim: 25
layers { bottom: "data" top: "conv1" name: "conv1" type: CONVOLUTION
  convolution_param { num_output: 4 pad: 1 kernel_size: 3 } }
layers { bottom: "conv1" top: "pool1" name: "pool1" type: POOLING
  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layers { bottom: "pool1" top: "pool5" name: "pool5" type: POOLING
  pooling_param { pool: MAX kernel_size: 3 stride: 1 pad: 1 } }
layers { bottom: "pool5" top: "pool5a" name: "pool5a" type: POOLING
  pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 } }
layers { bottom: "pool5a" top: "fc6" name: "fc6" type: CONVOLUTION
  convolution_param { num_output: 6 pad: 4 hole: 4 kernel_size: 3 } }
layers { bottom: "fc6" top: "fc6" name: "relu6" type: RELU }
layers { bottom: "fc6" top: "fc6" name: "drop6" type: DROPOUT dropout_param { dropout_ratio: 0.5 } }
layers { bottom: "fc6" top: "fc8" name: "fc8" type: CONVOLUTION
  convolution_param { num_output: 5 kernel_size: 1 } }
layers { bottom: "fc8" top: "fc8_interp" name: "fc8_interp" type: INTERP
  interp_param { zoom_factor: 2 } }
""",
    "mainline": HEAD
    + conv("conv1", "data", 4, "pad_h: 1 pad_w: 2 kernel_h: 3 kernel_w: 5 bias_term: false")
    + """
layer { name: "conv1_norm" type: "BatchNorm" bottom: "conv1" top: "conv1"
  batch_norm_param { use_global_stats: true eps: 0.001 } }
layer { name: "conv1_scale" type: "Scale" bottom: "conv1" top: "conv1"
  scale_param { bias_term: true } }
layer { name: "copies" type: "Split" bottom: "conv1" top: "a" top: "b" }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" relu_param { negative_slope: 0.1 } }
layer { name: "within" type: "LRN" bottom: "b" top: "c"
  lrn_param { local_size: 3 alpha: 0.01 norm_region: WITHIN_CHANNEL } }
layer { name: "both" type: "Concat" bottom: "a" bottom: "c" top: "both" }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "c" top: "sum"
  eltwise_param { operation: SUM coeff: 0.5 coeff: -2 } }
layer { name: "most" type: "Eltwise" bottom: "a" bottom: "c" top: "most"
  eltwise_param { operation: MAX } }
layer { name: "all" type: "Concat" bottom: "both" bottom: "sum" bottom: "most" top: "all" }
"""
    + conv("score", "all", 5, "kernel_size: 3 dilation: 2 pad: 2 stride: 1"),
}
"""Prototxts by kind. Their images are of `size_of`."""


def size_of(name: str) -> tuple[int, ...]:
    """Return the shape of the image of a net in NETS."""
    sizes = {"deconvnet": (12, 12), "fcn": (20, 23), "deeplab": (17, 25)}
    return (1, 3, *sizes.get(name, (13, 18)))


def segnet_text(
    encoder: tuple[tuple[int, ...], ...],
    decoder: tuple[tuple[int, ...], ...],
    classes: int,
    size: tuple[int, int],
) -> tuple[str, list[str]]:
    """Return the prototxt of a SegNet, and the names of its convolutions in execution order."""
    text = head(size)
    names: list[str] = []
    sizes, blob = [size], "data"
    for stage, widths in enumerate(encoder, 1):
        for number, width in enumerate(widths, 1):
            names.append(f"conv{stage}_{number}")
            text += conv(names[-1], blob, width) + bn_relu(names[-1])
            blob = names[-1]
        text += pool(f"pool{stage}", blob)
        blob = f"pool{stage}"
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    for stage, widths in zip(range(len(encoder), 0, -1), decoder, strict=True):
        height, width = sizes[stage - 1]
        text += unpool(
            f"pool{stage}_D",
            blob,
            f"pool{stage}_mask",
            f"scale: 2 upsample_h: {height} upsample_w: {width}",
        )
        blob = f"pool{stage}_D"
        for number, channels in enumerate(widths):
            names.append(f"conv{stage}_{len(widths) - number + (stage == 1)}_D")
            text += conv(names[-1], blob, channels) + bn_relu(names[-1])
            blob = names[-1]
    names.append("conv1_1_D")
    return text + conv(names[-1], blob, classes), names


def basic_text(width: int, classes: int, size: tuple[int, int]) -> tuple[str, list[str]]:
    """Return the prototxt of a SegNet-Basic, and the names of its convolutions in order."""
    text = head(size)
    text += 'layer { name: "norm" type: "LRN" bottom: "data" top: "norm" '
    text += "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 } }\n"
    blob, sizes, names = "norm", [size], []
    for stage in range(1, 5):
        names.append(f"conv{stage}")
        text += conv(names[-1], blob, width, "kernel_size: 7 pad: 3") + bn_relu(names[-1])
        text += pool(f"pool{stage}", names[-1])
        blob = f"pool{stage}"
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    for stage in range(4, 0, -1):
        height, columns = sizes[stage - 1]
        settings = f"upsample_h: {height} upsample_w: {columns}"
        text += unpool(f"upsample{stage}", blob, f"pool{stage}_mask", settings)
        blob = f"conv_decode{stage}"
        names.append(blob)
        text += conv(blob, f"upsample{stage}", width, "kernel_size: 7 pad: 3")
        text += bn_relu(blob, relu=False)
    names.append("classifier")
    return text + conv(names[-1], blob, classes, "kernel_size: 1"), names


def mutate(text: str, rng: Any) -> str:
    """Return `text` with one value, one name or one layer changed."""
    values, names = list(re.finditer(r'(?<=: )[-\w."]+', text)), re.findall(r'"\w+"', text)
    kind = rng.integers(3)
    if kind == 0:
        at = values[rng.integers(len(values))]
        new = ("0", "-1", "2", "7", "99999999999999999999", "0.5", "true", "MAX", "{}")
        return text[: at.start()] + new[rng.integers(len(new))] + text[at.end() :]
    if kind == 1 and names:
        return text.replace(*(names[i] for i in rng.integers(0, len(names), 2)), 1)
    layers = text.split("layer")
    layers.pop(rng.integers(len(layers)))
    return "layer".join(layers)
