"""Restore MaxPool with indices and MaxUnpool from the ScatterND that torch exports.

torch.onnx exports an unpooling as a ScatterND into zeros. Its row numbers are a pool's plane index
plus the offset of each (n, c) plane. The plane index in turn is a flat index minus the first index
of the plane, which a second, 1x1 pool computes. The pass recognises this structure independently
of names, and leaves any other ScatterND unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import (
    Builder,
    constant,
    infer_shapes,
    int_attribute,
    ints_attribute,
    pad_to_even,
    producer,
    remove_dead,
    replace,
    static_size,
    walk_back,
)
from segnet_deploy.passes.unpooling_pairs import WHOLE_INDICES

_RESHAPING = ("Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Cast")


@dataclass(frozen=True)
class _Scatter:
    """A recognised unpooling: its pool, the ScatterND `node` and the (N, C, H, W) `shape`."""

    pool: ir.Node
    node: ir.Node
    shape: ir.Shape


def restore_unpooling(model: ir.Model) -> PassResult:
    """Rewrite every unpooling that torch exported as ScatterND, in place; return the PassResult.

    Odd sizes in ceil mode become a pad with -inf, pooling of even sizes and a slice. Raises
    UnsupportedModelError for an unpooling that the standard operators cannot express exactly.
    """
    model = infer_shapes(model)
    graph = model.graph
    found = [s for node in graph if node.op_type == "ScatterND" and (s := _match(node))]
    pools: dict[int, tuple[ir.Node, list[_Scatter]]] = {}
    for scatter in found:
        pools.setdefault(id(scatter.pool), (scatter.pool, []))[1].append(scatter)
    for pool, scatters in pools.values():
        _rewrite(graph, pool, scatters)
    if found:
        model = infer_shapes(remove_dead(model))
    return PassResult(model, len(found), tuple(f"restored '{s.pool.name}'" for s in found))


def _match(node: ir.Node) -> _Scatter | None:
    """Return the unpooling that `node` stands for, or None if it does not depend on a pool."""
    data, rows, updates = node.inputs[:3]
    pool = _source_pool(rows)
    if pool is None:
        return None
    offset_index = producer(walk_back(rows, _RESHAPING), "Add")
    plane_index = _plane_index(offset_index, pool) if offset_index else None
    reduction = node.attributes.get("reduction")
    zeros = _four_dimensional(data)
    if reduction is not None and reduction.as_string() != "none":
        raise _refusal(node, f"it reduces with {reduction.as_string()}")
    if not _is_zero(walk_back(data, _RESHAPING)):
        raise _refusal(node, "it does not scatter into zeros")
    if offset_index is None or plane_index is None:
        axes = len(ints_attribute(pool, "kernel_shape", ()))
        if axes != 2:
            raise _refusal(node, f"pool '{pool.name}' has {axes} axes; only two are supported")
        why = f"its rows come from pool '{pool.name}' in an unknown way"
        raise _refusal(node, f"{why}; {WHOLE_INDICES}")
    if zeros is None or zeros.shape is None or updates is None:
        raise _refusal(node, "it does not scatter into (N, C, H, W) planes")
    _check_offset(node, offset_index, plane_index, pool)
    _check_kernel(node, pool)
    return _Scatter(pool, node, zeros.shape)


def _source_pool(rows: ir.Value | None) -> ir.Node | None:
    """Return the pool whose indices determine `rows` through index arithmetic, or None."""
    pending, seen = [rows], set[int]()
    while pending:
        value = pending.pop()
        if value is None or id(value) in seen or (node := value.producer()) is None:
            continue
        seen.add(id(value))
        if node.op_type == "MaxPool" and value is not node.outputs[0]:
            if ints_attribute(node, "kernel_shape", ()) != (1, 1):
                return node
        elif node.op_type in (*_RESHAPING, "Add", "Sub", "Concat"):
            pending += node.inputs
    return None


def _plane_index(add: ir.Node, pool: ir.Node) -> ir.Value | None:
    """Return the input of `add` that is the pool's flat index minus the plane's first index."""
    for value in add.inputs:
        sub = producer(walk_back(value, _RESHAPING), "Sub")
        if sub is None or sub.inputs[0] is not pool.outputs[1]:
            continue
        cut = producer(sub.inputs[1], "Slice")
        first = producer(cut.inputs[0], "MaxPool") if cut else None
        if cut is None or first is None or first.inputs[0] is not pool.inputs[0]:
            continue
        starts, ends = constant(cut.inputs[1]), constant(cut.inputs[2])
        whole = starts is not None and ends is not None and not starts.any() and (ends == 1).all()
        if whole and ints_attribute(first, "kernel_shape", ()) == (1, 1):
            return value
    return None


def _check_offset(node: ir.Node, add: ir.Node, plane_index: ir.Value, pool: ir.Node) -> None:
    """Raise UnsupportedModelError unless plane (n, c) starts at (n * C + c) * H * W."""
    offset = next((v for v in add.inputs if v is not plane_index), None)
    source = pool.inputs[0]
    size = static_size(source) if source is not None else None
    array = constant(offset)
    if array is not None:
        if size is None or array.ndim != 4 or array.shape[2:] != (1, 1):
            raise _refusal(node, f"its plane offsets have the shape {array.shape}")
        expected = np.arange(array.size) * (size[0] * size[1])
        if not np.array_equal(array.reshape(-1), expected):
            raise _refusal(
                node,
                f"it unpools into planes of a different size than the input of pool "
                f"'{pool.name}', {size[0]}x{size[1]}; use sizes that are multiples of 32",
            )
        return
    product = producer(walk_back(offset, _RESHAPING), "Mul")
    factors = [v for v in product.inputs if v is not None] if product else []
    counts = [v for v in factors if _is_count(walk_back(v, _RESHAPING))]
    if len(factors) != 2 or len(counts) != 1:
        raise _refusal(node, "its plane offsets are not a range times the plane's size")
    plane = constant(next(v for v in factors if v is not counts[0]))
    if plane is not None and size is not None and plane.item() != size[0] * size[1]:
        expected_size = f"{size[0]}x{size[1]} of pool '{pool.name}'"
        raise _refusal(node, f"its planes hold {plane.item()} values; expected {expected_size}")


def _check_kernel(node: ir.Node, pool: ir.Node) -> None:
    kernel = ints_attribute(pool, "kernel_shape", ())
    strides = ints_attribute(pool, "strides", (1,) * len(kernel))
    pads, dilations = ints_attribute(pool, "pads", ()), ints_attribute(pool, "dilations", ())
    if len(kernel) != 2 or kernel != strides or any(pads) or any(d != 1 for d in dilations):
        raise _refusal(
            node,
            f"pool '{pool.name}' has kernel {list(kernel)}, strides {list(strides)} and pads "
            f"{list(pads)}; expected windows that do not overlap, unpadded: give the layer a "
            "stride equal to its kernel",
        )
    if int_attribute(pool, "ceil_mode", 0) and kernel != (2, 2):
        raise _refusal(
            node,
            f"pool '{pool.name}' is in ceil mode with kernel {list(kernel)}; expected ceil mode "
            "with 2x2 only: choose sizes that it divides, and ceil_mode=False",
        )


def _rewrite(graph: ir.Graph, pool: ir.Node, scatters: list[_Scatter]) -> None:
    source = pool.inputs[0]
    assert source is not None
    kernel = ints_attribute(pool, "kernel_shape", ())
    build = Builder(graph, pool)
    ceil_mode, size = bool(int_attribute(pool, "ceil_mode", 0)), static_size(source)
    restores_size = [_restores_size(s, source) for s in scatters]
    if ceil_mode and not all(restores_size):
        raise _refusal(pool, "it pools in ceil mode but is not unpooled to the size of its input")
    odd = size is None or size[0] % 2 or size[1] % 2
    padded = pad_to_even(build, source, -np.inf) if ceil_mode and odd else source
    y, index = build.multi("MaxPool", padded, outputs=2, kernel_shape=kernel, strides=kernel)
    y.name, index.name = f"{pool.outputs[0].name}_pooled", f"{pool.outputs[0].name}_flat_index"
    index.type = ir.TensorType(ir.DataType.INT64)
    shape = build.op("Shape", padded) if size is None or _batch(source) is None else None
    replace(pool.outputs[0], y)
    for scatter, restores in zip(scatters, restores_size, strict=True):
        at = Builder(graph, scatter.node)
        updates = scatter.node.inputs[2]
        values = _four_dimensional(updates) or at.op("Reshape", updates, at.op("Shape", y))
        target = shape if shape is not None else at.const(_padded_shape(source, size, ceil_mode))
        inputs = [values, index] + ([target] if restores else [])
        x = at.op("MaxUnpool", *inputs, kernel_shape=kernel, strides=kernel)
        x.type, x.shape = source.type, padded.shape if restores else scatter.shape
        if padded is not source:
            ends = at.const(size) if size else at.op("Shape", source, start=2, end=4)
            x = at.op("Slice", x, at.const([0, 0]), ends, at.const([2, 3]))
            x.type, x.shape = source.type, source.shape
        _replace_flat(at, scatter.node.outputs[0], x)


def _replace_flat(build: Builder, flat: ir.Value, x: ir.Value) -> None:
    """Replace `flat` by the (N, C, H, W) value `x`, reshaped if `flat` itself is used."""
    for use in list(flat.uses()):
        output = use.node.outputs[0]
        if use.node.op_type == "Reshape" and output.shape is not None and len(output.shape) == 4:
            replace(output, x)
    if flat.uses() or flat.is_graph_output():
        replace(flat, build.op("Reshape", x, build.const([-1])))


def _restores_size(scatter: _Scatter, source: ir.Value) -> bool:
    """Return whether the unpooling writes the size of the pool's input, static or dynamic."""
    have, want = scatter.shape, source.shape
    if want is None or len(want) != 4:
        return False
    return all(
        a == b and (isinstance(a, int) or a.value) for a, b in zip(have[2:], want[2:], strict=True)
    )


def _padded_shape(
    source: ir.Value, size: tuple[int, int] | None, ceil_mode: bool
) -> list[int | ir.SymbolicDim]:
    assert source.shape is not None
    assert size is not None
    even = [s + s % 2 for s in size] if ceil_mode else list(size)
    return [source.shape[0], source.shape[1], *even]


def _batch(value: ir.Value) -> int | None:
    size = value.shape[0] if value.shape is not None else None
    return size if isinstance(size, int) else None


def _four_dimensional(value: ir.Value | None) -> ir.Value | None:
    """Follow `value` upstream through reshapes to the first value with four dimensions."""
    while value is not None:
        if value.shape is not None and len(value.shape) == 4:
            return value
        node = value.producer()
        reshapes = node is not None and node.op_type in (*_RESHAPING, "Expand")
        value = node.inputs[0] if node is not None and reshapes else None
    return None


def _is_zero(value: ir.Value | None) -> bool:
    if (array := constant(value)) is not None:
        return not array.any()
    if (fill := producer(value, "ConstantOfShape")) is not None:
        filler = fill.attributes.get("value")
        return filler is None or not filler.as_tensor().numpy().any()
    expand = producer(value, "Expand")
    return expand is not None and _is_zero(expand.inputs[0])


def _is_count(value: ir.Value | None) -> bool:
    """Return whether a value is the sequence 0, 1, 2, ... of any length."""
    if (array := constant(value)) is not None:
        return array.size > 1 and np.array_equal(array.reshape(-1), np.arange(array.size))
    count = producer(value, "Range")
    if count is None:
        return False
    start, step = constant(count.inputs[0]), constant(count.inputs[2])
    return start is not None and step is not None and start.item() == 0 and step.item() == 1


def _refusal(node: ir.Node, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{node.op_type} '{node.name}' is not an exact unpooling: {why}")
