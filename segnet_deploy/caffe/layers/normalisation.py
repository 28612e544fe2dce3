"""BN of caffe-segnet, BatchNorm and Scale of mainline Caffe, and LRN.

BN, BatchNorm and Scale become BatchNormalization nodes, which are folded into convolutions later.
Sources: bn_layer.cpp of caffe-segnet; batch_norm_layer.cpp, scale_layer.cpp and lrn_layer.cpp.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segnet_deploy.caffe.layers.context import FILLERS, Blob, Context
from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.types import Array

BN_EPSILON = 1e-9


def bn(context: Context) -> list[Blob]:
    """Scale and shift each channel by the two blobs, which hold the statistics already.

    The mode LEARN, which is the default of the file format, is refused: it normalises each batch by
    itself.
    """
    context.require()
    settings = context.settings("bn_param", ("bn_mode", "scale_filler", "shift_filler", "engine"))
    channels = context.bottom.shape[1]
    scale, shift = (
        context.weight(number, (channels,), what) for number, what in enumerate(("scale", "shift"))
    )
    context.check_blob_count(2)
    if context.statistics is not None:
        return [_normalised_batch(context, scale, shift)]
    if settings.text("bn_mode", "LEARN") not in ("INFERENCE", "1"):
        raise UnsupportedModelError(
            f"{context.layer} is in the mode LEARN: the caffemodel is a training snapshot, without "
            "the statistics that inference needs; compute them from training images with "
            "--bn-statistics DIR, or give the prototxt of inference and the caffemodel that "
            "compute_bn_statistics.py wrote"
        )
    zero, one = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    return [_affine(context, scale, shift, zero, one, 0.0)]


def _normalised_batch(context: Context, scale: Array, shift: Array) -> Blob:
    """Normalise by the batch's own mean and variance, as in training, and record both."""
    x, build = context.bottom.value, context.build
    assert context.statistics is not None

    def mean_of(value: ir.Value) -> ir.Value:
        return context.op("ReduceMean", value, build.const([0, 2, 3]), keepdims=1)

    mean = mean_of(x)
    # The square of the difference is what E(x^2) - E(x)^2 means, without its loss of digits.
    centred = context.op("Sub", x, mean)
    variance = mean_of(context.op("Mul", centred, centred))
    context.statistics[context.layer.name] = (mean, variance)
    deviation = context.op("Sqrt", context.op("Add", variance, build.const(BN_EPSILON, np.float32)))
    column = (1, len(scale), 1, 1)
    scaled = context.op(
        "Mul",
        context.op("Div", centred, deviation),
        build.const(scale.reshape(column), np.float32),
    )
    value = context.op("Add", scaled, build.const(shift.reshape(column), np.float32))
    return Blob(value, context.bottom.shape)


def batch_norm(context: Context) -> list[Blob]:
    """Normalise by the moving averages in the blobs: mean, variance, and their factor."""
    context.require()
    known = ("use_global_stats", "moving_average_fraction", "eps", "engine")
    settings = context.settings("batch_norm_param", known)
    channels = context.bottom.shape[1]
    if not settings.flag("use_global_stats", True):
        raise context.refusal("use_global_stats: false normalises each batch by itself; remove it")
    factor = float(context.weight(2, (1,), "moving average factor")[0])
    context.check_blob_count(3)
    if factor == 0:
        raise context.refusal(
            "its moving average factor is 0: the caffemodel has no statistics; train it, or use a "
            "later snapshot"
        )
    mean = context.weight(0, (channels,), "mean") / np.float32(factor)
    variance = context.weight(1, (channels,), "variance") / np.float32(factor)
    epsilon = settings.real("eps", 1e-5)
    if (variance + epsilon <= 0).any():
        raise context.refusal("a variance is negative: the caffemodel is damaged, or another net's")
    one, zero = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    return [_affine(context, one, zero, mean, variance, epsilon)]


def scale(context: Context) -> list[Blob]:
    """Multiply each channel by a learned factor, and add a learned term if bias_term is set."""
    if len(context.bottoms) != 1:
        raise context.refusal("it multiplies two blobs; only learned factors are supported")
    context.require()
    known = ("axis", "num_axes", "filler", "bias_term", "bias_filler")
    settings = context.settings("scale_param", known)
    if settings.integer("axis", 1) not in (1, -3) or settings.integer("num_axes", 1) != 1:
        raise context.refusal("axis or num_axes; only one factor per channel is supported")
    channels = context.bottom.shape[1]
    bias = settings.flag("bias_term", False)
    factors = context.weight(0, (channels,), "scale")
    zero, one = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    terms = context.weight(1, (channels,), "bias") if bias else zero
    context.check_blob_count(1 + bias)
    return [_affine(context, factors, terms, zero, one, 0.0)]


def _affine(
    context: Context, scale: Array, shift: Array, mean: Array, variance: Array, epsilon: float
) -> Blob:
    operands = {"scale": scale, "shift": shift, "mean": mean, "variance": variance}
    inputs = [context.initializer(array, name) for name, array in operands.items()]
    value = context.op("BatchNormalization", context.bottom.value, *inputs, epsilon=epsilon)
    return Blob(value, context.bottom.shape)


def lrn(context: Context) -> list[Blob]:
    """Normalise across channels, or within a channel over a square of local_size."""
    context.require()
    settings = context.settings(
        "lrn_param", ("local_size", "alpha", "beta", "k", "norm_region", "engine", *FILLERS)
    )
    size = settings.integer("local_size", 5)
    alpha, beta = settings.real("alpha", 1.0), settings.real("beta", 0.75)
    if size < 1 or size % 2 == 0:
        raise context.refusal(f"local_size {size}; Caffe supports odd sizes only")
    x, build = context.bottom.value, context.build
    if settings.text("norm_region", "ACROSS_CHANNELS") in ("ACROSS_CHANNELS", "0"):
        value = context.op(
            "LRN", x, size=size, alpha=alpha, beta=beta, bias=settings.real("k", 1.0)
        )
        return [Blob(value, context.bottom.shape)]
    means = context.op(
        "AveragePool",
        context.op("Mul", x, x),
        kernel_shape=(size, size),
        strides=(1, 1),
        pads=(size // 2,) * 4,
        count_include_pad=1,
    )
    scaled = context.op("Mul", means, build.const(alpha, np.float32))
    base = context.op("Add", scaled, build.const(1.0, np.float32))
    factor = context.op("Pow", base, build.const(-beta, np.float32))
    return [Blob(context.op("Mul", x, factor), context.bottom.shape)]
