"""Convolution, Deconvolution and InnerProduct."""

from __future__ import annotations

from segnet_deploy.caffe.layers.context import FILLERS, Blob, Context, axis_of, check_size, pair
from segnet_deploy.errors import InputError
from segnet_deploy.types import Size

_SETTINGS = (
    *("num_output", "bias_term", "group", "axis", "force_nd_im2col"),
    *("kernel_size", "kernel_h", "kernel_w", "pad", "pad_h", "pad_w"),
    *("stride", "stride_h", "stride_w", "dilation", "hole", "hole_h", "hole_w"),
    *FILLERS,
)


def convolution(context: Context) -> list[Blob]:
    """Convolve as Caffe does: sizes round down."""
    return [_convolution(context, transposed=False)]


def deconvolution(context: Context) -> list[Blob]:
    """Convolve transposed; weights are (C_in, C_out / group, kH, kW) as in ONNX."""
    return [_convolution(context, transposed=True)]


def _convolution(context: Context, transposed: bool) -> Blob:
    context.require()
    settings = context.settings("convolution_param", _SETTINGS)
    if settings.integer("axis", 1) != 1:
        raise context.refusal(f"axis {settings.integer('axis', 1)}; only 1 is supported")
    channels, outputs = context.bottom.shape[1], settings.integer("num_output", 0)
    group = settings.integer("group", 1)
    layer = context.layer
    kernel, stride = pair(settings, "kernel", 0, layer), pair(settings, "stride", 1, layer)
    pad = pair(settings, "pad", 0, layer)
    dilation_name = "dilation" if settings.texts("dilation") else "hole"  # DeepLab's Caffe: hole
    dilation = pair(settings, dilation_name, 1, layer)
    if outputs < 1 or min(kernel) < 1:
        raise InputError(f"{layer}: num_output {outputs}, kernel {list(kernel)}; expected above 0")
    if group < 1 or channels % group or outputs % group:
        raise InputError(f"{layer}: group {group} does not divide {channels} or {outputs} channels")
    shape = (channels, outputs // group) if transposed else (outputs, channels // group)
    bias = settings.flag("bias_term", True)
    inputs = [
        context.bottom.value,
        context.initializer(context.weight(0, (*shape, *kernel), "weight"), "weight"),
    ]
    if bias:
        inputs.append(context.initializer(context.weight(1, (outputs,), "bias"), "bias"))
    context.check_blob_count(1 + bias)
    size = _size(context.bottom.shape[2:], kernel, stride, pad, dilation, transposed)
    result = (context.bottom.shape[0], outputs, *size)
    check_size(result, layer)
    value = context.op(
        "ConvTranspose" if transposed else "Conv",
        *inputs,
        kernel_shape=kernel,
        strides=stride,
        pads=pad * 2,
        dilations=dilation,
        group=group,
    )
    return Blob(value, result)


def _size(
    read: tuple[int, ...], kernel: Size, stride: Size, pad: Size, dilation: Size, transposed: bool
) -> tuple[int, ...]:
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    together = zip(read, reach, stride, pad, strict=True)
    if transposed:
        return tuple(s * (size - 1) + k - 2 * p for size, k, s, p in together)
    return tuple((size + 2 * p - k) // s + 1 for size, k, s, p in together)


def inner_product(context: Context) -> list[Blob]:
    """Multiply the flattened blob by a matrix of (num_output, inputs)."""
    context.require(rank=len(context.bottom.shape))
    known = ("num_output", "bias_term", "axis", *FILLERS)
    settings = context.settings("inner_product_param", known)
    if axis_of(context, settings.integer("axis", 1)) != 1:
        raise context.refusal(f"axis {settings.integer('axis', 1)}; only 1 is supported")
    outputs, inputs = settings.integer("num_output", 0), 1
    for size in context.bottom.shape[1:]:
        inputs *= size
    bias = settings.flag("bias_term", True)
    flat = context.op("Flatten", context.bottom.value, axis=1)
    operands = [flat, context.initializer(context.weight(0, (outputs, inputs), "weight"), "weight")]
    if bias:
        operands.append(context.initializer(context.weight(1, (outputs,), "bias"), "bias"))
    context.check_blob_count(1 + bias)
    value = context.op("Gemm", *operands, transB=1)
    return [Blob(value, (context.bottom.shape[0], outputs))]
