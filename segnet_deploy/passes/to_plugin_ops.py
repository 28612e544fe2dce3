"""Rewrite pool/unpool pairs to the plugin's SegNetMaxPool and SegNetMaxUnpool (contract.json)."""

from __future__ import annotations

import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult, contract
from segnet_deploy.passes.dynamic_sizes import crop_to
from segnet_deploy.passes.graph import (
    Builder,
    constant,
    infer_shapes,
    int_attribute,
    ints_attribute,
    lowest,
    remove_dead,
    replace,
    static_size,
)
from segnet_deploy.passes.to_integer_pairs import to_integer_pairs
from segnet_deploy.passes.unpooling_pairs import (
    Pair,
    find_pairs,
    is_non_negative,
    is_two_by_two,
    repeat_count,
)

_WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")
_RESIZING = {contract.POOL, contract.UNPOOL, "MaxUnpool", "Resize", "Upsample", "Pad", "Slice"}
_RESIZING |= {"GlobalAveragePool", "GlobalMaxPool", "SpaceToDepth", "DepthToSpace"}
_COMMON = {
    "plugin_version": contract.PLUGIN_VERSION,
    "plugin_namespace": contract.PLUGIN_NAMESPACE,
}


def to_plugin_ops(model: ir.Model, integers: bool = True) -> PassResult:
    """Rewrite every standard pair of `model` in place to the plugin's operators.

    A pad before a pool whose values are never the maximum is replaced by ceil mode. If `integers`,
    pairs between a DequantizeLinear and a QuantizeLinear of the same scale work on the integers.
    Static sizes become attributes; otherwise the unpooling reads the network's image and a level.
    Returns the PassResult. Raises UnsupportedModelError if a pair cannot be rewritten exactly.
    """
    model = infer_shapes(model)
    if integers:
        model = to_integer_pairs(model).model
    graph = model.graph
    pairs = [p for p in find_pairs(graph) if p.pool.domain != contract.DOMAIN]
    for pair in pairs:
        _rewrite(graph, pair)
    if pairs:
        model.opset_imports[contract.DOMAIN] = 1
        model = remove_dead(model)
    return PassResult(model, len(pairs), tuple(f"plugin for '{p.pool.name}'" for p in pairs))


def _rewrite(graph: ir.Graph, pair: Pair) -> None:
    source, ceil_mode = _without_pad(pair)
    level = None if static_size(source) is not None else _level(source, ceil_mode)
    build = Builder(graph, pair.pool)
    y, code = build.multi(
        contract.POOL,
        source,
        outputs=2,
        domain=contract.DOMAIN,
        ceil_mode=int(ceil_mode),
        **_COMMON,
    )
    y.type = source.type
    y.shape = pair.pool.outputs[0].shape
    code.type = ir.TensorType(ir.DataType.INT32)
    replace(pair.pool.outputs[0], y)
    codes = {id(pair.pool.outputs[1]): code}
    for node in pair.repeats:
        count = repeat_count(node, pair.pool)
        repeated = build.op("Expand", code, build.const([count, 1, 1, 1]))
        repeated.type = code.type
        codes[id(node.outputs[0])] = repeated
    for unpool in pair.unpools:
        given = codes[id(unpool.inputs[1])]
        _rewrite_unpool(Builder(graph, unpool), unpool, pair, source, given, ceil_mode, level)
        graph.remove(unpool, safe=True)
    for node in (*pair.repeats, pair.pool):
        graph.remove(node, safe=True)


def _rewrite_unpool(
    build: Builder,
    unpool: ir.Node,
    pair: Pair,
    source: ir.Value,
    code: ir.Value,
    ceil_mode: bool,
    level: tuple[int, ir.Value] | None,
) -> None:
    size = static_size(source)
    inputs = [unpool.inputs[0], code]
    # Two roundings agree at even sizes only: the operator refuses others when it runs.
    attributes: dict[str, int] = {"ceil_mode": int(ceil_mode != pair.even_only)}
    if size is not None:
        attributes |= {"height": size[0], "width": size[1]}
    else:
        assert level is not None
        attributes["level"], image = level
        inputs.append(image)
    x = build.op(contract.UNPOOL, *inputs, domain=contract.DOMAIN, **attributes, **_COMMON)
    values = unpool.inputs[0]
    x.type = (values.type if values is not None else None) or source.type
    x.shape = _with_batch_of(values, source.shape)
    old = unpool.outputs[0]
    crop = None if source is pair.source else crop_to(old, source)
    if crop is not None:  # the plugin's operator crops by itself
        replace(crop.outputs[0], x)
        build.graph.remove(crop, safe=True)
    else:
        replace(old, x)


def _with_batch_of(values: ir.Value | None, shape: ir.Shape | None) -> ir.Shape | None:
    """Return `shape` with the first size of `values`, which may be samples of one image."""
    if shape is None or values is None or values.shape is None:
        return shape
    return ir.Shape([values.shape[0], *shape[1:]])


def _without_pad(pair: Pair) -> tuple[ir.Value, bool]:
    """Return the pool's input before a pad that is never the maximum, and the ceil mode."""
    node = pair.source.producer()
    if node is None or node.op_type != "Pad":
        return pair.source, pair.ceil_mode
    value = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    inner = node.inputs[0]
    if value is None or inner is None:
        return pair.source, pair.ceil_mode
    if (value != lowest(inner)).any() and (value.any() or not is_non_negative(inner)):
        return pair.source, pair.ceil_mode
    pads = constant(node.inputs[1])
    if pads is not None and (pads.size != 8 or any(pads[:6]) or max(pads[6:]) > 1):
        return pair.source, pair.ceil_mode
    if any(crop_to(unpool.outputs[0], inner) is None for unpool in pair.unpools):
        return pair.source, pair.ceil_mode
    return inner, True


def _level(value: ir.Value, ceil_mode: bool) -> tuple[int, ir.Value]:
    """Count the halvings from the network's (N, C, H, W) image to `value`; return count and image.

    Raises UnsupportedModelError for a node between them that changes the size in another way.
    """
    level = 0
    while (node := value.producer()) is not None and node.op_type != "Transpose":
        if _halves(node, ceil_mode):
            level += 1
        elif not _keeps_size(node):
            raise UnsupportedModelError(
                f"{node.op_type} '{node.name}' changes the size: with dynamic sizes the plugin "
                f"form needs 2x2 pools only, all with ceil_mode {int(ceil_mode)} here; export "
                "with a static --imgsz"
            )
        inner = node.inputs[0]
        assert inner is not None
        value = inner
    return level, value


def _halves(node: ir.Node, ceil_mode: bool) -> bool:
    """Return whether `node` is a 2x2 pool with this `ceil_mode`."""
    if node.op_type == "MaxPool" and not is_two_by_two(node):
        return False
    is_pool = node.op_type in ("MaxPool", contract.POOL)
    return is_pool and bool(int_attribute(node, "ceil_mode", 0)) == ceil_mode


def _keeps_size(node: ir.Node) -> bool:
    if node.op_type not in _WINDOWED:
        return node.op_type not in _RESIZING
    """Return whether `node` preserves height and width for every input size."""
    auto_pad = node.attributes.get("auto_pad")
    same = auto_pad is not None and auto_pad.as_string().startswith("SAME")
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    kernel = ints_attribute(node, "kernel_shape", (weight and static_size(weight)) or ())
    pads, dilations = (
        ints_attribute(node, "pads", (0, 0, 0, 0)),
        ints_attribute(node, "dilations", (1, 1)),
    )
    lost = [d * (k - 1) for d, k in zip(dilations, kernel, strict=False)]
    padded = [a + b for a, b in zip(pads[:2], pads[2:], strict=False)]
    return ints_attribute(node, "strides", (1, 1)) == (1, 1) and (same or lost == padded)
