"""Convert an fp32 graph to fp16 or bf16, with the precision in the graph itself.

The nodes that normalise the image stay fp32 (squares of 0-255 values overflow fp16), and so does
the argmax and the statistics of dropout samples. Everything between is converted, weights included.
Masks stay boolean and codes int32: there is no cast between a pool, its codes and the unpooling.
The graph's inputs and outputs keep their types.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.passes import PRECISIONS, PassResult
from segnet_deploy.passes.graph import infer_shapes, remove_dead
from segnet_deploy.types import Array

_DTYPES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
_NORMALISING = ("Transpose", "Gather", "Cast", "Sub", "Div", "Mul", "Add", "Identity", "LRN")
_FLOAT_INPUTS = {"Resize": (1, 2)}  # ONNX defines scales only in fp32, and roi not in bf16


def to_precision(model: ir.Model, precision: str) -> PassResult:
    """Rewrite an fp32 `model` in place to `precision`, one of PRECISIONS; return the PassResult.

    'fp32' changes nothing, nor does the precision that the model has. 'int8' needs calibration and
    is only checked. Raises InputError for another name. Raises UnsupportedModelError for a weight
    that overflows, or for a model that is in another reduced precision.
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
    if precision in ("int8", "fp32"):
        return PassResult(model, 0)
    if types := reduced_weight_types(model):
        if types == {_DTYPES[precision]}:
            return PassResult(model, 0)
        names = ", ".join(sorted(dtype.name for dtype in types))
        raise UnsupportedModelError(f"the model is in {names} already; start from the fp32 file")
    model = infer_shapes(model)
    changed = _Converter(model.graph, _DTYPES[precision]).run()
    return PassResult(infer_shapes(remove_dead(model)), changed, (f"{changed} nodes {precision}",))


def precision_of(model: ir.Model) -> str:
    """Return the precision of `model`: fp32, fp16, bf16 or int8."""
    return "int8" if is_quantised(model) else half_precision_of(model) or "fp32"


def is_quantised(model: ir.Model) -> bool:
    """Return whether `model` contains QuantizeLinear nodes."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph)


def half_precision_of(model: ir.Model) -> str | None:
    """Return 'fp16' or 'bf16' if all reduced convolution weights are of that type, else None."""
    types = reduced_weight_types(model)
    return next((name for name, dtype in _DTYPES.items() if types == {dtype}), None)


def reduced_weight_types(model: ir.Model) -> set[ir.DataType]:
    """Return the types other than fp32 among the weights of convolutions."""
    weights = [n.inputs[1] for n in model.graph if n.op_type in ("Conv", "ConvTranspose")]
    types = {weight.dtype for weight in weights if weight is not None and weight.dtype is not None}
    return types - {ir.DataType.FLOAT}


class _Converter:
    """Converts one graph to `half`. The dictionaries share one result per value, by its id."""

    def __init__(self, graph: ir.Graph, half: ir.DataType):
        self.graph, self.half = graph, half
        self.kept = {id(node) for node in _normalising(graph)}
        self.kept |= {id(node) for node in _final(graph)}
        self.constants: dict[int, ir.Value] = {}
        self.to_half: dict[int, ir.Value] = {}
        self.to_float: dict[int, ir.Value] = {}

    def run(self) -> int:
        """Convert the graph; return the number of converted nodes."""
        nodes = list(self.graph)
        converted = [node for node in nodes if id(node) not in self.kept]
        floats = {id(v) for n in converted for v in n.outputs if v.dtype == ir.DataType.FLOAT}
        for node in converted:
            self._convert_attributes(node)
        for node in nodes:
            for index, value in enumerate(node.inputs):
                if value is None or value.dtype != ir.DataType.FLOAT:
                    continue
                is_fp32 = id(node) in self.kept or index in _FLOAT_INPUTS.get(node.op_type, ())
                if is_fp32 and id(value) in floats:
                    node.replace_input_with(index, self._as_float(value))
                elif not is_fp32 and id(value) not in floats:
                    node.replace_input_with(index, self._as_half(value))
        self._restore_outputs(floats)
        for node in converted:
            for value in node.outputs:
                if id(value) in floats:
                    value.type = ir.TensorType(self.half)
        return len(converted)

    def _as_half(self, value: ir.Value) -> ir.Value:
        """Return an fp32 value in half precision: a converted constant, or a shared cast."""
        if value.const_value is not None:
            if id(value) not in self.constants:
                self.constants[id(value)] = self._constant(value)
            return self.constants[id(value)]
        if id(value) not in self.to_half:
            self.to_half[id(value)] = self._cast(value, self.half)
        return self.to_half[id(value)]

    def _as_float(self, value: ir.Value) -> ir.Value:
        """Return the shared cast to fp32 of a value in half precision."""
        if id(value) not in self.to_float:
            self.to_float[id(value)] = self._cast(value, ir.DataType.FLOAT)
        return self.to_float[id(value)]

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
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
            const_value=ir.tensor(self._half_array(value), name=name),
        )
        self.graph.register_initializer(new)
        return new

    def _half_array(self, value: ir.Value) -> Array:
        assert value.const_value is not None
        array = value.const_value.numpy()
        with np.errstate(over="ignore"):
            half: Array = array.astype(self.half.numpy())
        if not np.array_equal(np.isinf(half.astype(np.float32)), np.isinf(array)):
            raise UnsupportedModelError(
                f"weight '{value.name}' reaches {np.abs(array).max():.3g}, which "
                f"{self.half.name} cannot hold; use bf16 or fp32"
            )
        return half

    def _convert_attributes(self, node: ir.Node) -> None:
        """Convert types and constants in the attributes of `node`."""
        if node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", int(self.half))
        if node.op_type in ("ConstantOfShape", "Constant"):
            value = node.attributes.get("value")
            tensor = value.as_tensor() if value is not None else None
            if node.op_type == "ConstantOfShape" and tensor is None:
                tensor = ir.tensor(np.zeros(1, np.float32))
            if tensor is not None and tensor.dtype == ir.DataType.FLOAT:
                half = ir.tensor(tensor.numpy().astype(self.half.numpy()))
                node.attributes["value"] = ir.AttrTensor("value", half)

    def _restore_outputs(self, floats: set[int]) -> None:
        """Cast the float outputs of the graph back to fp32, under their old names."""
        for index, value in enumerate(self.graph.outputs):
            if id(value) in floats:
                name, value.name = value.name, f"{value.name}_{self.half.name.lower()}"
                node = ir.node("Cast", [value], {"to": int(ir.DataType.FLOAT)})
                self.graph.append(node)
                out = node.outputs[0]
                out.name, out.shape = name, value.shape
                out.type = ir.TensorType(ir.DataType.FLOAT)
                self.graph.outputs[index] = out


def _normalising(graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes that only normalise the image: all their other inputs are constants."""
    reached = {id(graph.inputs[0])}
    found = []
    for node in graph:
        variable = [v for v in node.inputs if v is not None and v.const_value is None]
        if (
            node.op_type in _NORMALISING
            and len(variable) == 1
            and all(id(value) in reached for value in variable)
        ):
            found.append(node)
            reached |= {id(value) for value in node.outputs}
    return found


def _final(graph: ir.Graph) -> list[ir.Node]:
    """Return all nodes from an ArgMax, or the softmax of samples, to the outputs."""
    first = ("ArgMax", "LogSoftmax") if len(graph.inputs) > 1 else ("ArgMax",)
    reached: set[int] = set()
    found = []
    for node in graph:
        if node.op_type in first or any(id(v) in reached for v in node.inputs if v is not None):
            found.append(node)
            reached |= {id(value) for value in node.outputs}
    return found
