"""Read and edit an onnx-ir graph: attributes, constants, static sizes, new nodes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.types import Array, Size


class Builder:
    """Insert nodes before `anchor`, one per call; without an anchor at the end of the graph."""

    def __init__(self, graph: ir.Graph, anchor: ir.Node | None = None):
        self.graph = graph
        self.anchor = anchor

    def op(
        self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: Any
    ) -> ir.Value:
        """Add a node with one output and return that output."""
        return self.multi(op_type, *inputs, outputs=1, domain=domain, **attributes)[0]

    def multi(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        outputs: int,
        domain: str = "",
        **attributes: Any,
    ) -> tuple[ir.Value, ...]:
        """Add a node with several outputs and return them."""
        node = ir.node(op_type, inputs, attributes, domain=domain, num_outputs=outputs)
        if self.anchor is None:
            self.graph.append(node)
        else:
            self.graph.insert_before(self.anchor, node)
        return tuple(node.outputs)

    def const(self, value: Any, dtype: Any = np.int64) -> ir.Value:
        """Return a new initializer that holds `value`."""
        array = np.asarray(value, dtype=dtype)
        number = len(self.graph.initializers)
        while (name := f"segnet_const_{number}") in self.graph.initializers:
            number += 1
        return add_initializer(self.graph, name, array)


def add_initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """Add an initializer that holds `array`; `name` must be new. Return it."""
    value = ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
        const_value=ir.tensor(array, name=name),
    )
    graph.register_initializer(value)
    return value


def constant(value: ir.Value | None) -> Array | None:
    """Return the array of a constant value, or None if `value` is not constant."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def static_size(value: ir.Value) -> Size | None:
    """Return the (height, width) of an (N, C, H, W) value, or None unless both are static."""
    if value.shape is None or len(value.shape) != 4:
        return None
    height, width = value.shape[2], value.shape[3]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that computes `value` if it is an `op_type`, else None."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def walk_back(value: ir.Value | None, op_types: Sequence[str]) -> ir.Value | None:
    """Follow `value` upstream through the first inputs of nodes of `op_types`."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type not in op_types:
            break
        value = node.inputs[0]
    return value


def pad_to_even(build: Builder, source: ir.Value, fill: float) -> ir.Value:
    """Pad (N, C, H, W) at the right and the bottom with `fill` to even sizes."""
    size = static_size(source)
    if size is not None:
        pads = build.const([0] * 6 + [size[0] % 2, size[1] % 2])
    else:
        odd = build.op("Mod", build.op("Shape", source, start=2, end=4), build.const([2, 2]))
        pads = build.op("Concat", build.const([0] * 6), odd, axis=0)
    dtype = (source.dtype or ir.DataType.FLOAT).numpy()
    padded = build.op("Pad", source, pads, build.const(fill, dtype), mode="constant")
    padded.type = source.type
    if size is not None and source.shape is not None:
        padded.shape = ir.Shape([*source.shape[:2], *(s + s % 2 for s in size)])
    return padded


def normalised(
    build: Builder, x: ir.Value, mean: Sequence[float], std: Sequence[float]
) -> ir.Value:
    """Return (x - mean) / std for (N, C, H, W) float32, with one number per channel."""
    shape = (1, len(mean), 1, 1)
    if any(mean):
        x = build.op("Sub", x, build.const(np.reshape(mean, shape), np.float32))
    if any(s != 1 for s in std):
        x = build.op("Div", x, build.const(np.reshape(std, shape), np.float32))
    return x


def lowest(value: ir.Value) -> float:
    """Return the lowest number that the type of `value` can hold; -inf for floats."""
    dtype = (value.dtype or ir.DataType.FLOAT).numpy()
    return float(np.iinfo(dtype).min) if dtype.kind in "iu" else -np.inf


def ints_attribute(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return an INTS attribute, or `default`."""
    attribute = node.attributes.get(name)
    return tuple(attribute.as_ints()) if attribute is not None else default


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """Return an INT attribute, or `default`."""
    attribute = node.attributes.get(name)
    return attribute.as_int() if attribute is not None else default


def opset(model: ir.Model) -> int:
    """Return the version of the default operator set."""
    return model.opset_imports.get("", 1)


def replace(old: ir.Value, new: ir.Value) -> None:
    """Replace every use of `old` by `new`, also as a graph output, which keeps its name."""
    if old.is_graph_output():
        old.name, new.name = None, old.name
    new.shape = new.shape or old.shape
    new.type = new.type or old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def infer_shapes(model: ir.Model) -> ir.Model:
    """Infer shapes in place, without copying large weights; return `model`.

    Recorded shapes that contradict the operators are forgotten. A model with integer MaxUnpools,
    which ONNX does not define, keeps the shapes it has.
    """
    if shape_contradiction(model):
        values = [v for n in model.graph if not n.domain for v in n.outputs]
        recorded = [(value, value.shape) for value in values if not value.is_graph_output()]
        for value, _ in recorded:
            value.shape = None
        if shape_contradiction(model):  # not the records are wrong, but the model
            for value, shape in recorded:
                value.shape = shape
    return model


def shape_contradiction(model: ir.Model) -> str:
    """Infer shapes in place; return why that is impossible, or an empty string."""
    from onnx_ir.passes.common import ShapeInferencePass

    if any(n.op_type == "MaxUnpool" and not n.domain and _is_integer(n) for n in model.graph):
        return ""
    with _inference_errors() as errors:
        ShapeInferencePass(check_type=False)(model)  # bf16 convolutions came with opset 22
    return errors[0] if errors else ""


@contextlib.contextmanager
def _inference_errors() -> Iterator[list[str]]:
    """Collect the errors of onnx's inference, which are logged, instead of showing them."""
    logger = logging.getLogger("onnx_ir.passes.common.shape_inference")
    errors: list[str] = []

    def is_other(record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith("Shape inference failed"):
            return True
        error = record.exc_info[1] if record.exc_info else None
        errors.append(" ".join(str(error).split()))
        return False

    logger.addFilter(is_other)
    try:
        yield errors
    finally:
        logger.removeFilter(is_other)


def _is_integer(node: ir.Node) -> bool:
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    return dtype is not None and dtype.numpy().kind in "iu"


def remove_dead(model: ir.Model) -> ir.Model:
    """Remove nodes and initializers that no output needs, in place; return `model`."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    return RemoveUnusedNodesPass()(model).model
