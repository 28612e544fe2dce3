"""Layers that work element by element, or that only move or join blobs."""

from __future__ import annotations

import math

import numpy as np

from segnet_deploy.caffe.layers.context import Blob, Context, axis_of, check_size
from segnet_deploy.errors import InputError


def relu(context: Context) -> list[Blob]:
    """max(x, 0), or a leaky ReLU with negative_slope."""
    slope = context.settings("relu_param", ("negative_slope", "engine")).real("negative_slope", 0.0)
    x = context.bottom.value
    value = context.op("LeakyRelu", x, alpha=slope) if slope else context.op("Relu", x)
    return [Blob(value, context.bottom.shape)]


def prelu(context: Context) -> list[Blob]:
    """A leaky ReLU with a learned slope, of each channel or of all."""
    settings = context.settings("prelu_param", ("filler", "channel_shared"))
    count = 1 if settings.flag("channel_shared", False) else context.bottom.shape[1]
    slopes = context.weight(0, (count,), "slope")
    context.check_blob_count(1)
    column = slopes.reshape(count, *[1] * (len(context.bottom.shape) - 2))
    value = context.op("PRelu", context.bottom.value, context.initializer(column, "slope"))
    return [Blob(value, context.bottom.shape)]


def sigmoid(context: Context) -> list[Blob]:
    """1 / (1 + exp(-x))."""
    return [Blob(context.op("Sigmoid", context.bottom.value), context.bottom.shape)]


def tanh(context: Context) -> list[Blob]:
    """The hyperbolic tangent."""
    return [Blob(context.op("Tanh", context.bottom.value), context.bottom.shape)]


def power(context: Context) -> list[Blob]:
    """(shift + scale * x) ** power."""
    settings = context.settings("power_param", ("power", "scale", "shift"))
    value = context.bottom.value
    for operator, name, neutral in (
        ("Mul", "scale", 1.0),
        ("Add", "shift", 0.0),
        ("Pow", "power", 1.0),
    ):
        number = settings.real(name, neutral)
        if number != neutral:
            value = context.op(operator, value, context.build.const(number, np.float32))
    if value is context.bottom.value:
        value = context.op("Identity", value)
    return [Blob(value, context.bottom.shape)]


def dropout(context: Context) -> list[Blob]:
    """Keep a Dropout node, which does nothing in inference; the caller may remove it."""
    settings = context.settings(
        "dropout_param", ("dropout_ratio", "sample_weights_test", "scale_train", "engine")
    )
    ratio = context.build.const(settings.real("dropout_ratio", 0.5), np.float32)
    return [Blob(context.op("Dropout", context.bottom.value, ratio), context.bottom.shape)]


def softmax(context: Context) -> list[Blob]:
    """The softmax over an axis, by default the channels."""
    settings = context.settings("softmax_param", ("axis", "engine"))
    axis = axis_of(context, settings.integer("axis", 1))
    return [Blob(context.op("Softmax", context.bottom.value, axis=axis), context.bottom.shape)]


def argmax(context: Context) -> list[Blob]:
    """The index of the maximum along an axis, as float; the last one of equal values."""
    settings = context.settings("argmax_param", ("axis", "top_k", "out_max_val"))
    if settings.integer("top_k", 1) != 1 or settings.flag("out_max_val", False):
        raise context.refusal("top_k or out_max_val; only the index of the maximum is supported")
    if not settings.texts("axis"):
        raise context.refusal("without axis it gives one number per image; set axis: 1")
    axis = axis_of(context, settings.integer("axis", 1))
    index = context.op("ArgMax", context.bottom.value, axis=axis, keepdims=1, select_last_index=1)
    shape = tuple(1 if i == axis else size for i, size in enumerate(context.bottom.shape))
    return [Blob(context.op("Cast", index, to=1), shape)]


def eltwise(context: Context) -> list[Blob]:
    """The sum, with coefficients, the product or the maximum of blobs of one shape."""
    settings = context.settings("eltwise_param", ("operation", "coeff", "stable_prod_grad"))
    operation = settings.text("operation", "SUM")
    coefficients = settings.reals("coeff")
    shapes = {blob.shape for blob in context.bottoms}
    if len(shapes) != 1:
        raise InputError(
            f"{context.layer} joins blobs of {sorted(map(list, shapes))}; expected one shape"
        )
    if coefficients and len(coefficients) != len(context.bottoms):
        raise InputError(
            f"{context.layer}: {len(coefficients)} coeff for {len(context.bottoms)} blobs"
        )
    names = {"PROD": "Mul", "0": "Mul", "SUM": "Add", "1": "Add", "MAX": "Max", "2": "Max"}
    if operation not in names:
        raise context.refusal(f"operation {operation}; expected SUM, PROD or MAX")
    values = [blob.value for blob in context.bottoms]
    if names[operation] == "Add" and any(c != 1 for c in coefficients):
        values = [
            context.op("Mul", value, context.build.const(c, np.float32))
            for value, c in zip(values, coefficients, strict=True)
        ]
    total = values[0]
    for value in values[1:]:
        total = context.op(names[operation], total, value)
    return [Blob(total, context.bottom.shape)]


def concat(context: Context) -> list[Blob]:
    """Join blobs along an axis, by default the channels."""
    settings = context.settings("concat_param", ("axis", "concat_dim"))
    axis = axis_of(context, settings.integer("axis", settings.integer("concat_dim", 1)))
    rests = {blob.shape[:axis] + blob.shape[axis + 1 :] for blob in context.bottoms}
    if len(rests) != 1:
        shapes = ", ".join(str(list(blob.shape)) for blob in context.bottoms)
        raise InputError(f"{context.layer} joins {shapes} along axis {axis}; other sizes differ")
    shape = list(context.bottom.shape)
    shape[axis] = sum(blob.shape[axis] for blob in context.bottoms)
    value = context.op("Concat", *(blob.value for blob in context.bottoms), axis=axis)
    return [Blob(value, tuple(shape))]


def crop(context: Context) -> list[Blob]:
    """Crop the first blob to the sizes of the second, from `axis` on, at `offset`."""
    context.require(count=2)
    settings = context.settings("crop_param", ("axis", "offset"))
    if not settings.fields:
        raise context.refusal(
            "it has no crop_param, and Caffe's versions differ in the offset that this means; add "
            "crop_param { axis: 2 offset: N } (FCN-8s: 5, 9 and 31; FCN-32s: 19)"
        )
    axis, offsets = axis_of(context, settings.integer("axis", 2)), settings.integers("offset")
    rank = len(context.bottom.shape)
    axes = list(range(axis, rank))
    offsets = offsets * len(axes) if len(offsets) == 1 else offsets or [0] * len(axes)
    if len(offsets) != len(axes):
        raise InputError(f"{context.layer}: {len(offsets)} offsets for {len(axes)} axes")
    sizes = [context.bottoms[1].shape[a] for a in axes]
    ends = [offset + size for offset, size in zip(offsets, sizes, strict=True)]
    if min(offsets) < 0 or any(
        e > context.bottom.shape[a] for e, a in zip(ends, axes, strict=True)
    ):
        raise InputError(
            f"{context.layer} crops {list(context.bottom.shape)} at {offsets} to {sizes}: too "
            "large; use another --imgsz, or correct the offset"
        )
    build = context.build
    value = context.op(
        "Slice", context.bottom.value, build.const(offsets), build.const(ends), build.const(axes)
    )
    return [Blob(value, (*context.bottom.shape[:axis], *sizes))]


def split(context: Context) -> list[Blob]:
    """Give one blob several names."""
    return [context.bottom] * len(context.layer.tops)


def reshape(context: Context) -> list[Blob]:
    """Reshape; 0 keeps a size, -1 is computed."""
    settings = context.settings("reshape_param", ("shape", "axis", "num_axes"))
    if settings.integer("axis", 0) or settings.integer("num_axes", -1) != -1:
        raise context.refusal("axis or num_axes; only the whole shape is supported")
    wanted = settings.message("shape").integers("dim")
    old = context.bottom.shape
    if any(size == 0 and i >= len(old) for i, size in enumerate(wanted)) or wanted.count(-1) > 1:
        raise InputError(f"{context.layer}: cannot reshape {list(old)} to {wanted}")
    sizes = [old[i] if size == 0 else size for i, size in enumerate(wanted)]
    rest = math.prod(size for size in sizes if size != -1)
    shape = tuple(math.prod(old) // max(rest, 1) if size == -1 else size for size in sizes)
    if not shape or math.prod(shape) != math.prod(old):
        raise InputError(f"{context.layer}: cannot reshape {list(old)} to {wanted}")
    return [Blob(context.op("Reshape", context.bottom.value, context.build.const(shape)), shape)]


def interp(context: Context) -> list[Blob]:
    """Resize bilinearly with aligned corners, as DeepLab's Interp."""
    context.require()
    known = ("height", "width", "zoom_factor", "shrink_factor", "pad_beg", "pad_end")
    settings = context.settings("interp_param", known)
    if settings.integer("pad_beg", 0) or settings.integer("pad_end", 0):
        raise context.refusal("pad_beg and pad_end are not supported")
    zoom, shrink = settings.integer("zoom_factor", 1), settings.integer("shrink_factor", 1)
    if zoom < 1 or shrink < 1:
        raise InputError(f"{context.layer}: zoom_factor {zoom}, shrink_factor {shrink}")
    sizes = [
        settings.integer(name, ((size - 1) // shrink) * zoom + 1)
        for name, size in zip(("height", "width"), context.bottom.shape[2:], strict=True)
    ]
    shape = (*context.bottom.shape[:2], *sizes)
    check_size(shape, context.layer)
    value = context.op(
        "Resize",
        context.bottom.value,
        None,
        None,
        context.build.const(shape),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    return [Blob(value, shape)]
