"""Small tools to grow an onnx-ir graph: new nodes before an anchor, constants, static sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir


class Builder:
    """Insert nodes before `anchor`, one call per node."""

    def __init__(self, graph: ir.Graph, anchor: ir.Node):
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
        self.graph.insert_before(self.anchor, node)
        return tuple(node.outputs)

    def const(self, value: Any, dtype: Any = np.int64) -> ir.Value:
        """Return a new initializer that holds `value`."""
        array = np.asarray(value, dtype=dtype)
        number = len(self.graph.initializers)
        while f"segnet_const_{number}" in self.graph.initializers:
            number += 1
        value_ = ir.Value(
            name=f"segnet_const_{number}",
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            shape=ir.Shape(array.shape),
            const_value=ir.tensor(array, name=f"segnet_const_{number}"),
        )
        self.graph.register_initializer(value_)
        return value_


def constant(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """Return the array behind a constant value, or None."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def static_size(value: ir.Value) -> tuple[int, int] | None:
    """Return the last two dimensions of a 4-D value where both are known."""
    if value.shape is None or len(value.shape) != 4:
        return None
    height, width = value.shape[2], value.shape[3]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def ints(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return an INTS attribute, or `default`."""
    attribute = node.attributes.get(name)
    return tuple(attribute.as_ints()) if attribute is not None else default


def integer(node: ir.Node, name: str, default: int) -> int:
    """Return an INT attribute, or `default`."""
    attribute = node.attributes.get(name)
    return attribute.as_int() if attribute is not None else default


def opset(model: ir.Model) -> int:
    """Return the version of the default operator set."""
    return model.opset_imports.get("", 1)


def replace(old: ir.Value, new: ir.Value) -> None:
    """Send every use of `old` to `new`, graph outputs included; keep an output's name."""
    if old.is_graph_output():
        old.name, new.name = None, old.name
    new.shape = new.shape or old.shape
    new.type = new.type or old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def infer_shapes(model: ir.Model) -> ir.Model:
    """Fill in the shapes that follow from the inputs; big weights are not copied."""
    from onnx_ir.passes.common import ShapeInferencePass

    return ShapeInferencePass()(model).model


def remove_dead(model: ir.Model) -> ir.Model:
    """Drop nodes and initializers that no output needs."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    return RemoveUnusedNodesPass()(model).model
