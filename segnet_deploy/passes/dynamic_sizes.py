"""Whether an unpooling with a computed output shape writes planes of the size of its pool's input.

With dynamic sizes nothing but the graph can show that: the shape must be put together from the
sizes of that input, or of a value that keeps them.
"""

from __future__ import annotations

import onnx_ir as ir

from segnet_deploy.passes.graph import constant, int_attribute

_SAME_SIZE = (
    *("Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "Elu", "BatchNormalization", "Identity"),
    *("Dropout", "Cast", "LRN", "QuantizeLinear", "DequantizeLinear"),
)
_PASSING = ("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape")
_Size = tuple[ir.Value, int] | int  # an axis of a value, or a number


def is_size_of(shape: ir.Value | None, source: ir.Value) -> bool:
    """Return whether the graph proves that height and width in `shape` are those of `source`.

    `shape` has one dimension, (N, C, H, W) or (H, W); `source` has four.
    """
    sizes = _sizes(shape)
    if sizes is None or len(sizes) not in (2, 4):
        return False
    return all(_equal(size, source, axis) for size, axis in zip(sizes[-2:], (2, 3), strict=True))


def crop_to(value: ir.Value, source: ir.Value) -> ir.Node | None:
    """Return the Slice, the only use of `value`, that crops it to the height and width of `source`.

    None if there is no such node.
    """
    uses = tuple(value.uses())
    node = uses[0].node if len(uses) == 1 and not value.is_graph_output() else None
    if node is None or (node.domain, node.op_type) != ("", "Slice") or len(node.inputs) < 4:
        return None
    starts, _, axes, *steps = (constant(number) for number in node.inputs[1:])
    if starts is None or axes is None or starts.any() or list(axes % 4) != [2, 3]:
        return None
    if any(step is None or (step != 1).any() for step in steps):
        return None
    return node if is_size_of(node.inputs[2], source) else None


def _sizes(shape: ir.Value | None) -> list[_Size] | None:
    """Return where each element of a computed shape comes from, or None if that is unknown."""
    if (array := constant(shape)) is not None:
        return [int(size) for size in array.reshape(-1)]
    node = shape.producer() if shape is not None else None
    if node is None or node.domain:
        return None
    if node.op_type == "Shape":
        return _sizes_of_value(node)
    if node.op_type == "Concat":
        parts = [_sizes(value) for value in node.inputs]
        return None if None in parts else [size for part in parts for size in part or ()]
    inner = _sizes(node.inputs[0])
    if inner is None or node.op_type in _PASSING:
        return inner
    numbers = [constant(value) for value in node.inputs[1:]]
    if node.op_type == "Gather" and numbers[0] is not None:
        picked = [int(index) for index in numbers[0].reshape(-1)]
        inside = all(-len(inner) <= index < len(inner) for index in picked)
        return [inner[index] for index in picked] if inside else None
    if node.op_type == "Slice" and all(n is not None and n.size == 1 for n in numbers):
        start, end, *rest = (int(n.item()) for n in numbers if n is not None)
        return inner[start:end] if rest[1:] in ([], [1]) else None
    return None


def _sizes_of_value(node: ir.Node) -> list[_Size] | None:
    value = node.inputs[0]
    if value is None:
        return None
    axes = range(4 if value.shape is None else len(value.shape))
    end = node.attributes.get("end")
    stop = None if end is None else end.as_int()
    return [(value, axis) for axis in axes[int_attribute(node, "start", 0) : stop]]


def _equal(size: _Size, source: ir.Value, axis: int) -> bool:
    want = None if source.shape is None or len(source.shape) != 4 else source.shape[axis]
    if isinstance(size, int):
        return size == want
    value, number = size
    if number != axis:
        return False
    have = None if value.shape is None or len(value.shape) != 4 else value.shape[axis]
    is_known = isinstance(have, int) or (have is not None and have.value is not None)
    return (is_known and have == want) or _origin(value) is _origin(source)


def _origin(value: ir.Value) -> ir.Value:
    """Follow `value` upstream through operators that keep height and width."""
    while (node := value.producer()) is not None and node.op_type in _SAME_SIZE:
        if node.domain or node.inputs[0] is None:
            break
        value = node.inputs[0]
    return value
