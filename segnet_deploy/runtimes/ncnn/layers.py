"""Translate an ONNX node to an ncnn layer: its type, its numbered parameters and its weights.

The numbers are from ncnn's operator list, docs/developer-guide/operators.md in its repository.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.graph import constant, int_attribute, ints_attribute, static_size
from segnet_deploy.types import Array, Size

FP32_TAG = np.zeros(1, np.uint32)  # before a weight that is raw fp32
RELU = 1
_LOWERED = ("SpaceToDepth", "DepthToSpace", "Split", "GreaterOrEqual", "Where")
_TO_EDGE = 2**31 - 233  # how ncnn writes an end that reaches the edge


@dataclass
class Layer:
    """An ncnn layer: the type and parameters of its .param line, and its weights in .bin order."""

    kind: str
    parameters: dict[int, object] = field(default_factory=dict)
    weights: list[Array] = field(default_factory=list)

    def fuse_relu(self) -> bool:
        """Apply a ReLU in the layer; return False if its type has no parameter for that."""
        if not self.kind.startswith(("Convolution", "Deconvolution")):
            return False
        self.parameters[9] = RELU
        return True

    def __str__(self) -> str:
        return " ".join(_parameter(number, value) for number, value in self.parameters.items())


def _parameter(number: int, value: object) -> str:
    if isinstance(value, tuple):  # an array: its id is -23300 - number
        return f"{-23300 - number}={','.join(map(str, (len(value), *value)))}"
    return f"{number}={value!r}" if isinstance(value, float) else f"{number}={value}"


def to_layer(node: ir.Node) -> Layer:
    """Return the layer of `node`. Raises UnsupportedModelError, naming the node."""
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    if rule is None:
        is_lowered = node.op_type in _LOWERED
        hint = " of the lowered form; use the standard form" if is_lowered else ""
        raise unsupported(node, f"unsupported operator{hint}")
    layer = rule(node)
    if not all(math.isfinite(x) for x in layer.parameters.values() if isinstance(x, float)):
        raise unsupported(node, "a parameter is not finite")
    return layer


def unsupported(node: ir.Node, why: str) -> UnsupportedModelError:
    """Return the error for a node that ncnn does not support."""
    return UnsupportedModelError(
        f"{node.op_type} '{node.name}' cannot be translated to ncnn: {why}"
    )


def axis_of(node: ir.Node, default: int) -> int:
    """Return the attribute `axis` counted from the first axis, of (N, C, H, W) if not known."""
    return from_first(int_attribute(node, "axis", default), node.inputs[0])


def from_first(axis: int, value: ir.Value | None) -> int:
    """Return an axis of `value` counted from the first; negative ones count from the last."""
    rank = 4 if value is None or value.shape is None else len(value.shape)
    return axis + rank if axis < 0 else axis


def require_opset(node: ir.Node, oldest: int) -> None:
    """Raise UnsupportedModelError if `node` is of an opset that defines its operator otherwise."""
    version = node.graph.opset_imports.get("", oldest) if node.graph is not None else oldest
    if version < oldest:
        raise unsupported(
            node, f"opset {version} defines it otherwise; convert the file to {oldest} or newer"
        )


def _constant_input(node: ir.Node, index: int, what: str) -> Array:
    value = constant(node.inputs[index]) if len(node.inputs) > index else None
    if value is None:
        raise unsupported(node, f"its {what} is not constant")
    return value


def _float_input(node: ir.Node, index: int, what: str) -> Array:
    value = _constant_input(node, index, what)
    if value.dtype != np.float32:
        raise unsupported(node, f"its {what} is {value.dtype}; expected float32")
    return np.ascontiguousarray(value)


def _pads(node: ir.Node) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right."""
    auto = node.attributes.get("auto_pad")
    if auto is not None and auto.as_string() not in ("NOTSET", "VALID"):
        raise unsupported(node, f"auto_pad {auto.as_string()}")
    pads = ints_attribute(node, "pads", (0, 0, 0, 0))
    if len(pads) != 4:
        raise unsupported(node, f"pads {list(pads)}; expected two axes")
    return pads[0], pads[1], pads[2], pads[3]


def geometry(node: ir.Node, weight: Array) -> tuple[str, dict[int, object]]:
    """Return the type and the numbered parameters of a convolution; `weight` is (K, C, h, w)."""
    transposed = node.op_type == "ConvTranspose"
    groups = int_attribute(node, "group", 1)
    if weight.ndim != 4 or (transposed and groups != 1):
        raise unsupported(node, f"weight {weight.shape}, group {groups}")
    top, left, bottom, right = _pads(node)
    strides, dilations = (
        ints_attribute(node, "strides", (1, 1)),
        ints_attribute(node, "dilations", (1, 1)),
    )
    channels, _, height, width = weight.shape
    parameters: dict[int, object] = {0: channels, 1: width, 11: height}
    parameters |= {2: dilations[1], 12: dilations[0], 3: strides[1], 13: strides[0]}
    parameters |= {4: left, 14: top, 15: right, 16: bottom, 6: weight.size}
    if transposed:
        extra = ints_attribute(node, "output_padding", (0, 0))
        if "output_shape" in node.attributes:
            raise unsupported(node, "it has output_shape; expected pads")
        return "Deconvolution", parameters | {18: extra[1], 19: extra[0]}
    if groups != 1:
        return "ConvolutionDepthWise", parameters | {7: groups}
    return "Convolution", parameters


def _convolution(node: ir.Node) -> Layer:
    weight = _float_input(node, 1, "weight")
    if node.op_type == "ConvTranspose" and weight.ndim == 4:
        weight = np.ascontiguousarray(weight.transpose(1, 0, 2, 3))
    kind, parameters = geometry(node, weight)
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    bias = [_float_input(node, 2, "bias")] if has_bias else []
    return Layer(kind, parameters | {5: int(has_bias)}, [FP32_TAG, weight, *bias])


def _batch_norm(node: ir.Node) -> Layer:
    if int_attribute(node, "training_mode", 0) or not int_attribute(node, "spatial", 1):
        raise unsupported(node, "it computes its statistics, or has them for each element")
    scale, bias, mean, variance = (_float_input(node, i, "statistics") for i in (1, 2, 3, 4))
    epsilon = node.attributes.get("epsilon")
    return Layer(
        "BatchNorm",
        {0: scale.size, 1: epsilon.as_float() if epsilon is not None else 1e-5},
        [scale, mean, variance, bias],
    )


def _lrn(node: ir.Node) -> Layer:
    real = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    real |= {k: node.attributes[k].as_float() for k in real if k in node.attributes}
    size = node.attributes["size"].as_int()
    if size % 2 == 0:
        raise unsupported(node, f"size {size}; expected an odd size")
    return Layer("LRN", {0: 0, 1: size, 2: real["alpha"], 3: real["beta"], 4: real["bias"]})


def _pooling(node: ir.Node) -> Layer:
    kernel, strides = (
        ints_attribute(node, "kernel_shape", ()),
        ints_attribute(node, "strides", (1, 1)),
    )
    top, left, bottom, right = _pads(node)
    ceil_mode = int_attribute(node, "ceil_mode", 0)
    if len(kernel) != 2 or any(d != 1 for d in ints_attribute(node, "dilations", (1, 1))):
        raise unsupported(
            node, f"kernel {list(kernel)} or dilations; expected two axes and no dilation"
        )
    if ceil_mode and (any((top, left, bottom, right)) or kernel != strides):
        raise unsupported(node, "ceil_mode with padding or overlapping windows")
    average = node.op_type == "AveragePool"
    if average and ceil_mode:
        raise unsupported(node, "an average pool with ceil_mode")
    parameters: dict[int, object] = {0: int(average), 1: kernel[1], 11: kernel[0]}
    parameters |= {2: strides[1], 12: strides[0], 3: left, 13: top, 14: right, 15: bottom}
    parameters |= {5: 0 if ceil_mode else 1, 6: int_attribute(node, "count_include_pad", 0)}
    return Layer("Pooling", parameters)


def _concat(node: ir.Node) -> Layer:
    if axis_of(node, 0) != 1:
        raise unsupported(node, "only concatenation of channels is supported")
    for number, value in enumerate(node.inputs):
        array = constant(value)
        if array is not None and (array.ndim != 4 or len(array) != 1):
            raise unsupported(node, f"operand {number} is {array.shape}; expected (1, C, H, W)")
    return Layer("Concat", {0: 0})


def constant_layer(node: ir.Node, index: int) -> Layer:
    """Return the layer of a constant (1, C, H, W) operand of `node`."""
    array = _float_input(node, index, "operand")
    _, channels, height, width = array.shape
    return Layer("MemoryData", {0: width, 1: height, 2: channels}, [array])


def _binary(node: ir.Node) -> Layer:
    number = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3}[node.op_type]
    shapes = [None if value is None else value.shape for value in node.inputs]
    second = constant(node.inputs[1])
    if second is not None and second.size == 1 and second.dtype == np.float32:
        return Layer("BinaryOp", {0: number, 1: 1, 2: float(second.item())})
    if second is not None or constant(node.inputs[0]) is not None or shapes[0] != shapes[1]:
        raise unsupported(
            node, f"operands {shapes[0]} and {shapes[1]}; expected equal shapes or a scalar"
        )
    return Layer("BinaryOp", {0: number})


def _resize(node: ir.Node) -> Layer:
    require_opset(node, 11)

    def text(name: str, default: str) -> str:
        attribute = node.attributes.get(name)
        return default if attribute is None else attribute.as_string()

    mode = text("mode", "nearest")
    coordinates = text("coordinate_transformation_mode", "half_pixel")
    size = static_size(node.outputs[0])
    known = {("linear", "half_pixel"): 0, ("linear", "pytorch_half_pixel"): 0}
    known |= {("linear", "align_corners"): 1, ("nearest", "asymmetric"): 0}
    rounding = text("nearest_mode", "round_prefer_floor")
    if (mode, coordinates) not in known or (mode == "nearest" and rounding != "floor"):
        raise unsupported(node, f"mode {mode}, {coordinates}, {rounding}")
    if size is None:
        raise unsupported(node, f"its size is {node.outputs[0].shape}; expected a static size")
    if int_attribute(node, "antialias", 0):
        raise unsupported(node, "antialias is not supported")
    if (policy := text("keep_aspect_ratio_policy", "stretch")) != "stretch":
        raise unsupported(node, f"keep_aspect_ratio_policy {policy}")
    if coordinates != "align_corners" and not _scales_match_sizes(node, size):
        raise unsupported(node, f"its scales are not the ratio of {size} to its input's size")
    kind = 2 if mode == "linear" else 1
    return Layer("Interp", {0: kind, 3: size[0], 4: size[1], 6: known[mode, coordinates]})


def _scales_match_sizes(node: ir.Node, size: Size) -> bool:
    """Return whether the scales are the ratios of the sizes, which ncnn computes with."""
    scales = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if scales is None or not scales.size:
        return True
    source = None if node.inputs[0] is None else static_size(node.inputs[0])
    if source is None or scales.size != 4:
        return False
    return np.allclose(scales, (1, 1, size[0] / source[0], size[1] / source[1]), rtol=1e-6)


def _slice(node: ir.Node) -> Layer:
    starts, ends, axes = (_constant_input(node, i, "range") for i in (1, 2, 3))
    steps = _constant_input(node, 4, "step") if len(node.inputs) > 4 else np.ones(1)
    positive = [from_first(int(axis), node.inputs[0]) for axis in axes]
    if (steps != 1).any() or min(positive, default=1) < 1:
        raise unsupported(node, f"axes {axes.tolist()}, steps {steps.tolist()}")
    first, last = (
        tuple(int(max(-_TO_EDGE, min(edge, _TO_EDGE))) for edge in edges)
        for edges in (starts, ends)
    )
    return Layer("Crop", {9: first, 10: last, 11: tuple(axis - 1 for axis in positive)})


def _pad(node: ir.Node) -> Layer:
    mode = node.attributes.get("mode")
    pads = _constant_input(node, 1, "padding")
    value = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    is_spatial = pads.size == 8 and not pads[[0, 1, 4, 5]].any() and (pads >= 0).all()
    if (mode is not None and mode.as_string() != "constant") or not is_spatial:
        raise unsupported(node, f"pads {pads.tolist()}")
    parameters: dict[int, object] = {0: int(pads[2]), 1: int(pads[6])}
    parameters |= {2: int(pads[3]), 3: int(pads[7]), 4: 0}
    return Layer("Padding", parameters | {5: 0.0 if value is None else float(value.item())})


def _softmax(node: ir.Node) -> Layer:
    require_opset(node, 13)
    if axis_of(node, -1) != 1:
        raise unsupported(node, "only over channels is supported")
    return Layer("Softmax", {0: 0, 1: 1})


def _prelu(node: ir.Node) -> Layer:
    slope = _float_input(node, 1, "slope")
    if slope.size > 1 and (slope.ndim < 3 or slope.shape[-3] != slope.size):
        raise unsupported(node, f"slopes {slope.shape}; expected one, or one per channel")
    return Layer("PReLU", {0: slope.size}, [slope.reshape(-1)])


def _leaky_relu(node: ir.Node) -> Layer:
    alpha = node.attributes.get("alpha")
    return Layer("ReLU", {0: alpha.as_float() if alpha is not None else 0.01})


_RULES: dict[str, Callable[[ir.Node], Layer]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Relu": lambda node: Layer("ReLU"),
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Sigmoid": lambda node: Layer("Sigmoid"),
    "BatchNormalization": _batch_norm,
    "LRN": _lrn,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
    "GlobalAveragePool": lambda node: Layer("Pooling", {0: 1, 4: 1}),
    "Concat": _concat,
    "Add": _binary,
    "Sub": _binary,
    "Mul": _binary,
    "Div": _binary,
    "Resize": _resize,
    "Slice": _slice,
    "Pad": _pad,
    "Softmax": _softmax,
}
IDENTITIES = ("Identity", "Dropout")  # operators that return their input unchanged
