"""Check the numbers in a node's attributes and constants: windows, axes, counts.

ONNX states them in words only, and native code that trusts them can end the process.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from segnet_deploy.errors import InputError
from segnet_deploy.passes.graph import constant, int_attribute, ints_attribute
from segnet_deploy.types import Array

LARGEST_WINDOW = 8192  # of a kernel, stride, dilation or pad: a side of the largest images


def check_geometry(node: ir.Node) -> None:
    """Raise InputError if a number of `node`, an operator of ONNX, cannot be right."""
    rule = _RULES.get(node.op_type) if not node.domain else None
    why = rule(node) if rule is not None else ""
    if why:
        raise InputError(f"{node.op_type} '{(node.name or '')[:80]}' {why}")


def _window(node: ir.Node) -> str:
    """Check the attributes of a convolution or a pool."""
    weight = node.inputs[1] if node.op_type.startswith("Conv") else None
    kernel = ints_attribute(node, "kernel_shape", ())
    axes = len(kernel)
    if not axes and weight is not None and weight.shape is not None:
        axes = len(weight.shape) - 2
    for name, count, low in (
        ("kernel_shape", axes, 1),
        ("strides", axes, 1),
        ("dilations", axes, 1),
        ("pads", 2 * axes, 0),
        ("output_padding", axes, 0),
    ):
        if name not in node.attributes:
            continue
        values = ints_attribute(node, name, ())
        if axes and len(values) != count:
            return f"has {len(values)} {name}; expected {count}"
        if not all(low <= value <= LARGEST_WINDOW for value in values):
            return f"has {name} {list(values[:8])}; expected {low} to {LARGEST_WINDOW}"
    return "" if int_attribute(node, "group", 1) > 0 else "has no group"


def _max_unpool(node: ir.Node) -> str:
    shape = _constant(node, 2)
    if shape is not None and (shape.ndim != 1 or len(shape) < 3 or (shape < 1).any()):
        return f"has the output_shape {shape.tolist()}; expected one size per axis"
    return _window(node)


def _quantised(node: ir.Node) -> str:
    """Check that there is one scale, or one for each index of an axis."""
    scale, zero, value = _constant(node, 1), _constant(node, 2), node.inputs[0]
    if scale is None:
        return ""
    if zero is not None and zero.size != scale.size:
        return f"has {scale.size} scales and {zero.size} zero points"
    shape = None if value is None else value.shape
    if scale.ndim != 1 or scale.size < 2 or shape is None or int_attribute(node, "block_size", 0):
        return ""
    axis = int_attribute(node, "axis", 1)
    if not -len(shape) <= axis < len(shape):
        return f"has axis {axis} of {len(shape)}"
    size = shape[axis]
    fits = size == scale.size or not isinstance(size, int)
    return "" if fits else f"has {scale.size} scales for an axis of {size}"


def _split(node: ir.Node) -> str:
    count = int_attribute(node, "num_outputs", len(node.outputs))
    sizes = _constant(node, 1)
    if count != len(node.outputs) or (sizes is not None and sizes.size != count):
        return f"splits into {count}, but has {len(node.outputs)} outputs"
    return ""


def _pad(node: ir.Node) -> str:
    pads, value, axes = (_constant(node, index) for index in (1, 2, 3))
    if value is not None and value.size != 1:
        return f"fills with {value.size} values; expected one"
    if pads is None:
        return ""
    rank = None if node.inputs[0] is None else node.inputs[0].shape
    count = axes.size if axes is not None else None if rank is None else len(rank)
    if pads.ndim != 1 or (count is not None and pads.size != 2 * count) or pads.size % 2:
        return f"has {pads.size} pads for {count} axes"
    return "" if (abs(pads) <= LARGEST_WINDOW).all() else f"has pads {pads.tolist()[:8]}"


def _clip(node: ir.Node) -> str:
    limits = [_constant(node, index) for index in (1, 2)]
    several = any(limit is not None and limit.size != 1 for limit in limits)
    return "has more than one limit" if several else ""


def _constant(node: ir.Node, index: int) -> Array | None:
    return constant(node.inputs[index]) if len(node.inputs) > index else None


_RULES: dict[str, Callable[[ir.Node], str]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"), _window),
    "ConvInteger": _window,
    "MaxUnpool": _max_unpool,
    "QuantizeLinear": _quantised,
    "DequantizeLinear": _quantised,
    "Split": _split,
    "Pad": _pad,
    "Clip": _clip,
}
