"""Pooling, with or without a mask, and the layers that read a mask: Upsample and Unpooling.

Caffe rounds the size of a pool up and clips the windows at the image's edge; the mask is the
position in the plane that the pool reads. Sources: pooling_layer.cpp and upsample_layer.cpp of
caffe-segnet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segnet_deploy.caffe.layers.context import Blob, Context, check_size, pair
from segnet_deploy.errors import InputError
from segnet_deploy.types import Size

_SETTINGS = (
    *("pool", "kernel_size", "kernel_h", "kernel_w", "pad", "pad_h", "pad_w"),
    *("stride", "stride_h", "stride_w", "global_pooling", "engine"),
)
_UPSAMPLE = (
    *("scale", "scale_h", "scale_w", "upsample_h", "upsample_w", "pad_out_h", "pad_out_w"),
)
_UNPOOLING = (
    *("unpool", "kernel_size", "kernel_h", "kernel_w", "pad", "pad_h", "pad_w"),
    *("stride", "stride_h", "stride_w", "unpool_size", "unpool_h", "unpool_w"),
)


@dataclass(frozen=True)
class _Windows:
    """The windows of a pool, each by (height, width).

    `count` is the size of the result, and `beyond` how far the last window reaches over the end of
    the input and its padding.
    """

    kernel: Size
    stride: Size
    pad: Size
    count: Size
    beyond: Size


def pooling(context: Context) -> list[Blob]:
    """Pool; with two tops also return the mask."""
    context.require()
    settings = context.settings("pooling_param", _SETTINGS)
    method = settings.text("pool", "MAX")
    windows = _windows(context)
    masked = len(context.layer.tops) > 1
    if method in ("MAX", "0") and masked:
        return _masked_pool(context, windows)
    shape = (*context.bottom.shape[:2], *windows.count)
    if method in ("MAX", "0"):
        ends = (p + b for p, b in zip((0, 0), windows.beyond, strict=True))
        value = context.op(
            "MaxPool",
            context.bottom.value,
            kernel_shape=windows.kernel,
            strides=windows.stride,
            pads=(*windows.pad, *ends),
        )
        return [Blob(value, shape)]
    if method in ("AVE", "1") and not masked:
        return [Blob(_average(context, windows), shape)]
    raise context.refusal(f"pool: {method}{' with a mask' if masked else ''}; expected MAX or AVE")


def _windows(context: Context) -> _Windows:
    """Return the windows as Caffe places them. Raises InputError or UnsupportedModelError."""
    settings = context.settings("pooling_param", _SETTINGS)
    height, width = context.bottom.shape[2:]
    kernel = pair(settings, "kernel", 0, context.layer)
    if settings.flag("global_pooling", False):
        kernel = (height, width)
    pad, stride = (
        pair(settings, "pad", 0, context.layer),
        pair(settings, "stride", 1, context.layer),
    )
    if min(kernel) < 1 or any(p >= k for p, k in zip(pad, kernel, strict=True)):
        raise InputError(f"{context.layer}: kernel {list(kernel)}, pad {list(pad)}: no such pool")
    counts, ends = [], []
    for size, k, s, p in zip((height, width), kernel, stride, pad, strict=True):
        count = -(-(size + 2 * p - k) // s) + 1
        if p and (count - 1) * s >= size + p:
            count -= 1
        if count < 1 or (count - 1) * s >= size + p:
            raise context.refusal(
                f"a window of {k} with stride {s} lies outside its input of {size} px"
            )
        counts.append(count)
        ends.append(max(0, (count - 1) * s + k - size - p))
    return _Windows(kernel, stride, pad, (counts[0], counts[1]), (ends[0], ends[1]))


def _average(context: Context, windows: _Windows) -> ir.Value:
    """Average as Caffe: padding counts as zeros, what is beyond the padding does not count."""
    ends = [b - p for p, b in zip(windows.pad, windows.beyond, strict=True)]
    attributes = {"kernel_shape": windows.kernel, "strides": windows.stride}
    if max(ends) <= 0:  # no window reaches beyond the padding
        return context.op(
            "AveragePool",
            context.bottom.value,
            pads=(*windows.pad, *windows.beyond),
            count_include_pad=1,
            **attributes,
        )
    pads = context.build.const([0, 0, *windows.pad, 0, 0, *windows.pad])
    x = context.bottom.value
    if any(windows.pad):
        x = context.op("Pad", x, pads, context.build.const(0.0, np.float32), mode="constant")
    return context.op("AveragePool", x, pads=(0, 0, *(max(e, 0) for e in ends)), **attributes)


def _masked_pool(context: Context, windows: _Windows) -> list[Blob]:
    """Pool whole windows of the input, padded at its end with -inf as far as they reach."""
    if windows.kernel != windows.stride or any(windows.pad):
        raise context.refusal(
            f"kernel {list(windows.kernel)}, stride {list(windows.stride)}, pad "
            f"{list(windows.pad)} with a mask; its windows must not overlap and not be padded"
        )
    read = (context.bottom.shape[2], context.bottom.shape[3])
    plane = (read[0] + windows.beyond[0], read[1] + windows.beyond[1])
    x = context.bottom.value
    if plane != read:
        pads = context.build.const([0] * 6 + list(windows.beyond))
        lowest = context.build.const(-np.inf, np.float32)
        x = context.op("Pad", x, pads, lowest, mode="constant")
    pooled, mask = context.build.multi(
        "MaxPool", x, outputs=2, kernel_shape=windows.kernel, strides=windows.stride
    )
    shape = (*context.bottom.shape[:2], *windows.count)
    return [Blob(pooled, shape), Blob(mask, shape, plane, read, windows.kernel)]


def upsample(context: Context) -> list[Blob]:
    """Unpool as caffe-segnet's Upsample: write each value at the position in the mask."""
    settings = context.settings("upsample_param", _UPSAMPLE)
    height, width = settings.integer("upsample_h", 0), settings.integer("upsample_w", 0)
    if height and width:
        return [_unpool(context, (height, width), "upsample_h and upsample_w")]
    scale = settings.integer("scale", 2)
    scales = [settings.integer(f"scale_{axis}", scale) for axis in "hw"]
    trims = [settings.flag(f"pad_out_{axis}", False) for axis in "hw"]
    sizes = [
        size * factor - trim
        for size, factor, trim in zip(context.bottom.shape[2:], scales, trims, strict=True)
    ]
    return [_unpool(context, (sizes[0], sizes[1]), "upsample_h and upsample_w")]


def unpooling(context: Context) -> list[Blob]:
    """Unpool as the Unpooling layer of DeconvNet's Caffe."""
    settings = context.settings("unpooling_param", _UNPOOLING)
    if settings.text("unpool", "MAX") not in ("MAX", "0"):
        raise context.refusal(f"unpool: {settings.text('unpool')}; expected MAX")
    both = settings.integer("unpool_size", 0)
    size = (settings.integer("unpool_h", both), settings.integer("unpool_w", both))
    return [_unpool(context, size, "unpool_size")]


def _unpool(context: Context, stated: Size, name: str) -> Blob:
    """Unpool to the size of the pool's input, which the prototxt must have `stated` as `name`."""
    context.require(count=2)
    values, mask = context.bottoms
    if mask.plane is None or mask.read is None or mask.kernel is None:
        raise context.refusal("its second blob is not the mask of a MAX pool")
    if values.shape[1:] != mask.shape[1:]:
        raise InputError(
            f"{context.layer} reads values {list(values.shape)} and a mask {list(mask.shape)}; "
            "expected the same sizes: state the size of each pool's input as " + name
        )
    if stated != mask.read and not context.resized:
        raise context.refusal(
            f"it unpools to {stated[0]}x{stated[1]} but its mask's pool read "
            f"{mask.read[0]}x{mask.read[1]}; set {name} to that size"
        )
    shape = (*values.shape[:2], *mask.read)
    check_size(shape, context.layer)
    target = context.build.const([*values.shape[:2], *mask.plane])
    x = context.op(
        "MaxUnpool", values.value, mask.value, target, kernel_shape=mask.kernel, strides=mask.kernel
    )
    if mask.plane != mask.read:
        build = context.build
        x = context.op("Slice", x, build.const([0, 0]), build.const(mask.read), build.const([2, 3]))
    return Blob(x, shape)
