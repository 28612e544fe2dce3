"""fp32 graph -> fp16 or bf16, with the precision in the graph itself.

What normalises the image stays fp32 (squares of 0-255 values overflow fp16), and so does
the argmax; everything between is converted, weights included. Masks stay boolean and codes
int32: no cast comes to lie between a pool, its codes and the unpooling. Inputs and outputs
of the graph keep their types.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.passes import PRECISIONS, PassResult
from segnet_deploy.passes.graph import infer_shapes, remove_dead

_DTYPES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
_BEFORE = ("Transpose", "Gather", "Cast", "Sub", "Div", "Mul", "Add", "Identity", "LRN")
_AFTER = ("ArgMax",)
_FLOAT_INPUTS = {"Resize": (1, 2)}  # ONNX defines scales in fp32 only, roi not in bf16


def to_precision(model: ir.Model, precision: str) -> PassResult:
    """Rewrite `model` in place to 'fp16' or 'bf16' ('fp32' changes nothing).

    A model that is in that precision already stays as it is. 'int8' is only checked: it needs
    calibration. Raises InputError for another name, UnsupportedModelError for a weight that
    overflows or a model in the other one.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}; expected {', '.join(PRECISIONS)}")
    if is_quantised(model) != (precision == "int8"):
        raise UnsupportedModelError(
            "int8 needs calibration: quantise the fp32 file with segnet-export --precision int8 "
            "--calib DIR"
            if precision == "int8"
            else f"the model is quantised to int8; start from the fp32 file for {precision}"
        )
    if precision == "int8":
        return PassResult(model, 0)
    if precision == "fp32":
        return PassResult(model, 0)
    if held := reduced_weight_types(model):
        if held == {_DTYPES[precision]}:
            return PassResult(model, 0)
        names = ", ".join(sorted(dtype.name for dtype in held))
        raise UnsupportedModelError(f"the model is in {names} already; start from the fp32 file")
    model = infer_shapes(model)
    changed = _Converter(model.graph, _DTYPES[precision]).run()
    return PassResult(infer_shapes(remove_dead(model)), changed, (f"{changed} nodes {precision}",))


def precision_of(model: ir.Model) -> str:
    """Return the precision that a model is in: fp32, fp16, bf16 or int8."""
    return "int8" if is_quantised(model) else half_precision_of(model) or "fp32"


def is_quantised(model: ir.Model) -> bool:
    """Tell whether the graph has Q/DQ."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph)


def half_precision_of(model: ir.Model) -> str | None:
    """Return fp16 or bf16 where all convolutions' weights are that, else None."""
    held = reduced_weight_types(model)
    return next((name for name, dtype in _DTYPES.items() if held == {dtype}), None)


def reduced_weight_types(model: ir.Model) -> set[ir.DataType]:
    """Return the reduced types among the convolutions' weights."""
    weights = [n.inputs[1] for n in model.graph if n.op_type in ("Conv", "ConvTranspose")]
    types = {weight.dtype for weight in weights if weight is not None and weight.dtype is not None}
    return types - {ir.DataType.FLOAT}


class _Converter:
    def __init__(self, graph: ir.Graph, half: ir.DataType):
        self.graph, self.half = graph, half
        self.kept = {id(node) for node in _before(graph)}
        self.kept |= {id(node) for node in _after(graph)}
        self.constants: dict[int, ir.Value] = {}
        self.down: dict[int, ir.Value] = {}
        self.up: dict[int, ir.Value] = {}

    def run(self) -> int:
        nodes = list(self.graph)
        converted = [node for node in nodes if id(node) not in self.kept]
        floats = {id(v) for n in converted for v in n.outputs if v.dtype == ir.DataType.FLOAT}
        for node in converted:
            self._attributes(node)
        for node in nodes:
            for index, value in enumerate(node.inputs):
                if value is None or value.dtype != ir.DataType.FLOAT:
                    continue
                stays = id(node) in self.kept or index in _FLOAT_INPUTS.get(node.op_type, ())
                if stays and id(value) in floats:
                    node.replace_input_with(index, self._raised(value, node))
                elif not stays and id(value) not in floats:
                    node.replace_input_with(index, self._lowered(value, node))
        self._outputs(floats)
        for node in converted:
            for value in node.outputs:
                if id(value) in floats:
                    value.type = ir.TensorType(self.half)
        return len(converted)

    def _lowered(self, value: ir.Value, user: ir.Node) -> ir.Value:
        """Return a half version of an fp32 value: a converted constant, or one shared cast."""
        if value.const_value is not None:
            if id(value) not in self.constants:
                self.constants[id(value)] = self._constant(value)
            return self.constants[id(value)]
        if id(value) not in self.down:
            self.down[id(value)] = self._cast(value, self.half, user)
        return self.down[id(value)]

    def _raised(self, value: ir.Value, user: ir.Node) -> ir.Value:
        if id(value) not in self.up:
            self.up[id(value)] = self._cast(value, ir.DataType.FLOAT, user)
        return self.up[id(value)]

    def _cast(self, value: ir.Value, dtype: ir.DataType, user: ir.Node) -> ir.Value:
        node = ir.node("Cast", [value], {"to": int(dtype)})
        producer = value.producer()
        if producer is not None:
            self.graph.insert_after(producer, node)
        else:
            self.graph.insert_before(self.graph[0], node)
        out: ir.Value = node.outputs[0]
        out.type, out.shape = ir.TensorType(dtype), value.shape
        return out

    def _constant(self, value: ir.Value) -> ir.Value:
        assert value.const_value is not None
        name = f"{value.name}_{self.half.name.lower()}"
        new = ir.Value(
            name=name,
            type=ir.TensorType(self.half),
            shape=value.shape,
            const_value=ir.tensor(self._array(value), name=name),
        )
        self.graph.register_initializer(new)
        return new

    def _array(self, value: ir.Value) -> np.ndarray[Any, Any]:
        assert value.const_value is not None
        array = value.const_value.numpy()
        with np.errstate(over="ignore"):
            half: np.ndarray[Any, Any] = array.astype(self.half.numpy())
        if not np.array_equal(np.isinf(half.astype(np.float32)), np.isinf(array)):
            raise UnsupportedModelError(
                f"weight '{value.name}' reaches {np.abs(array).max():.3g}, which "
                f"{self.half.name} cannot hold; use bf16 or fp32"
            )
        return half

    def _attributes(self, node: ir.Node) -> None:
        """Convert types and constants that a node carries itself."""
        if node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", int(self.half))
        if node.op_type in ("ConstantOfShape", "Constant"):
            held = node.attributes.get("value")
            tensor = held.as_tensor() if held is not None else None
            if node.op_type == "ConstantOfShape" and tensor is None:
                tensor = ir.tensor(np.zeros(1, np.float32))
            if tensor is not None and tensor.dtype == ir.DataType.FLOAT:
                half = ir.tensor(tensor.numpy().astype(self.half.numpy()))
                node.attributes["value"] = ir.AttrTensor("value", half)

    def _outputs(self, floats: set[int]) -> None:
        """Give float outputs of the graph back as fp32, under their names."""
        for index, value in enumerate(self.graph.outputs):
            if id(value) in floats:
                name, value.name = value.name, f"{value.name}_{self.half.name.lower()}"
                node = ir.node("Cast", [value], {"to": int(ir.DataType.FLOAT)})
                self.graph.append(node)
                out = node.outputs[0]
                out.name, out.shape = name, value.shape
                out.type = ir.TensorType(ir.DataType.FLOAT)
                self.graph.outputs[index] = out


def _before(graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes that only normalise the image; arithmetic needs constants beside it."""
    reached = {id(value) for value in graph.inputs}
    found = []
    for node in graph:
        variable = [v for v in node.inputs if v is not None and v.const_value is None]
        if (
            node.op_type in _BEFORE
            and len(variable) == 1
            and all(id(value) in reached for value in variable)
        ):
            found.append(node)
            reached |= {id(value) for value in node.outputs}
    return found


def _after(graph: ir.Graph) -> list[ir.Node]:
    """Return the argmax and what follows it."""
    reached: set[int] = set()
    found = []
    for node in graph:
        if node.op_type in _AFTER or any(id(v) in reached for v in node.inputs if v is not None):
            found.append(node)
            reached |= {id(value) for value in node.outputs}
    return found
