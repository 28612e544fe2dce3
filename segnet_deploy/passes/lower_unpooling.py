"""Lower pool/unpool pairs to plain operators that every runtime supports.

SpaceToDepth separates the elements a b / c d of each 2x2 window. The first maximum is found by
comparing the elements with one another, never with the maximum: a quantiser may give the maximum
a different scale. DepthToSpace writes the values back. The masks are named
`segnet.mask.<stage>.<element>`, so that checks can read them.

The result equals PyTorch's for every input without NaN, ties and odd sizes included, except for
the sign of zero. Comparisons with a NaN are false: exactly one element of its window is still
selected, and the value is the runtime's maximum. That is NaN in ONNX Runtime; in OpenVINO it is
NaN only if the NaN is the last element. PyTorch returns NaN at the position of the last NaN.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult, contract
from segnet_deploy.passes.graph import (
    Builder,
    constant,
    infer_shapes,
    int_attribute,
    lowest,
    opset,
    pad_to_even,
    remove_dead,
    replace,
    static_size,
)
from segnet_deploy.passes.lower_windows import lower_window_unpool, lower_windows
from segnet_deploy.passes.to_integer_pairs import to_integer_pairs
from segnet_deploy.passes.unpooling_pairs import Pair, find_pairs, is_non_negative, unpool_size

MASK_PREFIX = "segnet.mask"
_AXES = (2, 3)


def is_lowered(model: ir.Model) -> bool:
    """Return whether `model` contains lowered pairs."""
    return any(True for _ in find_masks(model.graph))


def find_masks(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield the masks of the lowered pairs, named segnet.mask.<stage>.<element>."""
    for node in graph:
        for value in node.outputs:
            if value.name and value.name.startswith(f"{MASK_PREFIX}."):
                yield value


def lower_unpooling(model: ir.Model, integers: bool = True) -> PassResult:
    """Rewrite every pair of `model` (standard or plugin form) in place; return the PassResult.

    If `integers`, pairs between a DequantizeLinear and a QuantizeLinear of the same scale work on
    the integers. Raises UnsupportedModelError if a pair cannot be rewritten exactly or the opset
    is older than 15.
    """
    if opset(model) < 15:
        raise UnsupportedModelError(
            f"opset {opset(model)} is too old for the lowered form; expected 15 or newer: convert "
            "the file with onnx.version_converter"
        )
    model = infer_shapes(model)
    if integers:
        model = to_integer_pairs(model).model
    pairs = find_pairs(model.graph, any_window=True)
    for stage, pair in enumerate(pairs):
        _lower_pair(model, pair, stage)
    if pairs:
        model = infer_shapes(remove_dead(model))
        model.opset_imports.pop(contract.DOMAIN, None)
    return PassResult(model, len(pairs), tuple(f"lowered '{p.pool.name}'" for p in pairs))


def _lower_pair(model: ir.Model, pair: Pair, stage: int) -> None:
    graph = model.graph
    build = Builder(graph, pair.pool)
    two_by_two = pair.kernel == (2, 2)
    if two_by_two:
        elements = _window_elements(build, _even_input(build, pair), opset(model))
        masks = _first_maximum(build, elements)
        replace(pair.pool.outputs[0], build.op("Max", *elements))
    else:
        masks = lower_windows(build, pair)
    for number, mask in enumerate(masks):
        mask.name = f"{MASK_PREFIX}.{stage}.{number}"
    for unpool in pair.unpools:
        lower = _lower_unpool if two_by_two else lower_window_unpool
        lower(Builder(graph, unpool), pair, unpool, masks)
        graph.remove(unpool, safe=True)
    for node in pair.repeats:  # the masks of one image are broadcast to all samples
        graph.remove(node, safe=True)
    graph.remove(pair.pool, safe=True)


def _even_input(build: Builder, pair: Pair) -> ir.Value:
    """Return the pool's input with even sizes: padded in ceil mode, cropped in floor mode."""
    source, size = pair.source, static_size(pair.source)
    replace_infinite_padding(build, source)
    if (size is not None and size[0] % 2 == 0 and size[1] % 2 == 0) or _is_padded_to_even(source):
        return source
    if pair.even_only:
        return source  # SpaceToDepth has no result at odd sizes
    if pair.ceil_mode:
        return pad_to_even(build, source, 0.0 if pair.non_negative else lowest(source))
    if size is not None:
        ends = build.const([size[0] // 2 * 2, size[1] // 2 * 2])
    else:
        half = build.op("Div", build.op("Shape", source, start=2, end=4), build.const([2, 2]))
        ends = build.op("Mul", half, build.const([2, 2]))
    return _crop(build, source, ends)


def _is_padded_to_even(source: ir.Value) -> bool:
    """Return whether a dynamic pad by (size mod 2) makes the sizes of `source` even."""
    value: ir.Value | None = source
    for op_type in ("Pad", "Concat", "Mod"):
        node = value.producer() if value is not None else None
        if node is None or node.op_type != op_type:
            return False
        value = node.inputs[1]
    divisor = constant(value)
    return divisor is not None and bool((divisor == 2).all())


def replace_infinite_padding(build: Builder, source: ir.Value) -> None:
    """Let the Pad that computes `source` fill with 0 instead of -inf if its input is not negative.

    The maximum of each window stays the same. Works in place; other values are left unchanged.
    """
    node = source.producer()
    if node is None or node.op_type != "Pad" or len(source.uses()) != 1:
        return
    value = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if value is not None and np.isneginf(value).all() and is_non_negative(node.inputs[0]):
        node.replace_input_with(2, build.const(0.0, value.dtype))


def _window_elements(build: Builder, x: ir.Value, version: int) -> tuple[ir.Value, ...]:
    depth = build.op("SpaceToDepth", x, blocksize=2)
    if version < 18:
        return build.multi("Split", depth, outputs=4, axis=1)
    return build.multi("Split", depth, outputs=4, axis=1, num_outputs=4)


def _first_maximum(build: Builder, elements: tuple[ir.Value, ...]) -> tuple[ir.Value, ...]:
    """Return four boolean masks, exactly one of them true in each window."""
    a, b, c, d = elements

    def at_least(x: ir.Value, y: ir.Value) -> ir.Value:
        return build.op("GreaterOrEqual", x, y)

    first = build.op("And", build.op("And", at_least(a, b), at_least(a, c)), at_least(a, d))
    b_beats_rest = build.op("And", at_least(b, c), at_least(b, d))
    not_first = build.op("Not", first)
    second = build.op("And", not_first, b_beats_rest)
    lower_row = build.op("And", not_first, build.op("Not", b_beats_rest))
    c_wins = at_least(c, d)
    third = build.op("And", lower_row, c_wins)
    fourth = build.op("And", lower_row, build.op("Not", c_wins))
    return first, second, third, fourth


def _lower_unpool(build: Builder, pair: Pair, unpool: ir.Node, masks: tuple[ir.Value, ...]) -> None:
    values = unpool.inputs[0]
    assert values is not None
    dtype = (values.dtype or pair.source.dtype or ir.DataType.FLOAT).numpy()
    zero = build.const(0.0, dtype)
    planes = [build.op("Where", mask, values, zero) for mask in masks]
    full = build.op("DepthToSpace", build.op("Concat", *planes, axis=1), blocksize=2, mode="DCR")
    replace(unpool.outputs[0], _fit_size(build, full, pair, unpool))


def _fit_size(build: Builder, full: ir.Value, pair: Pair, unpool: ir.Node) -> ir.Value:
    """Crop or zero-pad `full`, of even sizes, to the size that the unpooling writes."""
    size, pooled = unpool_size(unpool), static_size(pair.pool.outputs[0])
    if size is not None and pooled is None and unpool.inputs[0] is not None:
        pooled = static_size(unpool.inputs[0])
    if size is not None and pooled is not None:
        extra = (size[0] - 2 * pooled[0], size[1] - 2 * pooled[1])
        if extra == (0, 0):
            return full
        if max(extra) <= 0:
            return _crop(build, full, build.const(size))
        return build.op("Pad", full, build.const([0] * 6 + list(extra)), mode="constant")
    target = _target_size(build, unpool)
    if target is None or pair.even_only:
        return full
    if pair.ceil_mode:
        return _crop(build, full, target)
    extra_size = build.op("Sub", target, build.op("Shape", full, start=2, end=4))
    pads = build.op("Concat", build.const([0] * 6), extra_size, axis=0)
    return build.op("Pad", full, pads, mode="constant")


def _target_size(build: Builder, unpool: ir.Node) -> ir.Value | None:
    """Return the (height, width) that a dynamic `unpool` writes; None if it has no such input.

    Input 2 is the output shape of a MaxUnpool, or the image of the plugin's operator.
    """
    shape_or_image = unpool.inputs[2] if len(unpool.inputs) > 2 else None
    if shape_or_image is None:
        return None
    if unpool.domain != contract.DOMAIN:
        return build.op("Slice", shape_or_image, build.const([2]), build.const([4]))
    scale = 2 ** int_attribute(unpool, "level", 0)
    size = build.op("Shape", shape_or_image, start=2, end=4)
    if int_attribute(unpool, "ceil_mode", 1):
        size = build.op("Add", size, build.const([scale - 1] * 2))
    return build.op("Div", size, build.const([scale] * 2))


def _crop(build: Builder, x: ir.Value, ends: ir.Value) -> ir.Value:
    return build.op("Slice", x, build.const([0, 0]), ends, build.const(_AXES))
