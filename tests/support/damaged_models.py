"""Kinds of damage to an ONNX model, and the words of the error for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphs
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from segnet_deploy.runtimes import check_model

Proto = onnx.ModelProto


def good() -> Proto:
    return graphs.ir.to_proto(graphs.small_net())


def node(model: Proto, op_type: str) -> Any:
    return next(node for node in model.graph.node if node.op_type == op_type)


def without_inputs(op_type: str, count: int = 0) -> Callable[[Proto], None]:
    def damage(model: Proto) -> None:
        del node(model, op_type).input[count:]

    return damage


def with_attribute(op_type: str, name: str, value: Any) -> Callable[[Proto], None]:
    def damage(model: Proto) -> None:
        found = node(model, op_type)
        kept = [attribute for attribute in found.attribute if attribute.name != name]
        del found.attribute[:]
        found.attribute.extend(kept)
        if value is not None:
            found.attribute.append(h.make_attribute(name, value))

    return damage


def rename_input(model: Proto) -> None:
    node(model, "Relu").input[0] = "nowhere"


def empty_input(model: Proto) -> None:
    node(model, "Conv").input[1] = ""


def circle(model: Proto) -> None:
    model.graph.node[0].input[0] = "logits"


def longer_circle(model: Proto) -> None:
    """Let the first of many nodes in a row read the last."""
    last = "logits"
    for number in range(500):
        model.graph.node.append(h.make_node("Relu", [last], [f"r{number}"]))
        last = f"r{number}"
    node(model, "Conv").input[0] = last


def two_origins(model: Proto) -> None:
    node(model, "Relu").output[0] = "b.weight"


def computed_input(model: Proto) -> None:
    node(model, "Relu").output[0] = "x"


def computed_twice(model: Proto) -> None:
    node(model, "Relu").output[0] = "c"


def unknown_output(model: Proto) -> None:
    model.graph.output[0].name = "nowhere"


def same_outputs(model: Proto) -> None:
    model.graph.output.append(model.graph.output[0])


def nameless_first_output(model: Proto) -> None:
    node(model, "MaxPool").output[0] = ""
    model.graph.node[3].input[0] = "r"  # it read the pool's output


def short_weight(model: Proto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def other_shape(model: Proto) -> None:
    model.graph.initializer[0].dims[0] = 7


def few_floats(model: Proto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([0.5] * 7)


def negative_shape(model: Proto) -> None:
    model.graph.initializer[0].dims[0] = -6


def no_type(model: Proto) -> None:
    model.graph.initializer[0].data_type = 0


def unknown_type(model: Proto) -> None:
    model.graph.initializer[0].data_type = 99


def constant_of_other_shape(model: Proto) -> None:
    tensor = h.make_tensor("t", T.FLOAT, [2], [1.0, 2.0])
    tensor.dims[0] = 3
    model.graph.node.append(h.make_node("Constant", [], ["unused"], value=tensor))


def size_of(*sizes: int) -> Callable[[Proto], None]:
    def damage(model: Proto) -> None:
        shape = model.graph.input[0].type.tensor_type.shape
        del shape.dim[:]
        for size in sizes:
            shape.dim.add(dim_value=size)

    return damage


def many_dimensions(model: Proto) -> None:
    size_of(*[1] * 17)(model)


def other_domain(model: Proto) -> None:
    node(model, "Relu").domain = "theirs"


def of_our_domain(model: Proto) -> None:
    node(model, "Relu").domain = "segnet"


def no_operator(model: Proto) -> None:
    node(model, "Relu").op_type = "Ruled"


def no_opset(model: Proto) -> None:
    model.opset_import[0].domain = "theirs"


def negative_opset(model: Proto) -> None:
    model.opset_import[0].version = -1


def add_function(model: Proto, name: str, domain: str, body: list[Any]) -> None:
    opsets = [h.make_opsetid("", 20), h.make_opsetid(domain, 1)]
    model.functions.append(h.make_function(domain, name, ["a"], ["b"], body, opsets))
    if all(opset.domain != domain for opset in model.opset_import):
        model.opset_import.append(h.make_opsetid(domain, 1))


def own_relu(model: Proto) -> None:
    add_function(model, "Relu", "", [h.make_node("Neg", ["a"], ["b"])])


def functions_in_a_circle(model: Proto) -> None:
    for name, other in (("F", "G"), ("G", "F")):
        add_function(model, name, "own", [h.make_node(other, ["a"], ["b"], domain="own")])
    node(model, "Relu").op_type, node(model, "F").domain = "F", "own"


def functions_that_grow(model: Proto) -> None:
    """Let each of 40 functions call the one before it twice."""
    add_function(model, "F0", "own", [h.make_node("Neg", ["a"], ["b"])])
    for number in range(1, 41):
        calls = [
            h.make_node(f"F{number - 1}", ["a"], ["c"], domain="own"),
            h.make_node(f"F{number - 1}", ["c"], ["b"], domain="own"),
        ]
        add_function(model, f"F{number}", "own", calls)
    found = node(model, "Relu")
    found.op_type, found.domain = "F40", "own"


def reference(model: Proto) -> None:
    found = node(model, "MaxPool").attribute[0]
    found.ref_attr_name = "outer"


def nested_metadata(model: Proto) -> None:
    model.metadata_props.add(key="segnet.classes", value="[" * 5000 + "]" * 5000)


def much_metadata(model: Proto) -> None:
    model.metadata_props.add(key="note", value="x" * (check_model.MAX_METADATA_BYTES + 1))


def flat_output_shape(model: Proto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "size")
    tensor.dims[:] = [4, 1]


def append(model: Proto, op_type: str, outputs: int, *constants: Any, **attributes: Any) -> None:
    """Append an unused node that reads the image and constants."""
    names = [f"constant {number}" for number in range(len(constants))]
    for name, array in zip(names, constants, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    results = [f"unused {number}" for number in range(outputs)]
    model.graph.node.append(h.make_node(op_type, ["x", *names], results, **attributes))


def scales_of_another_axis(model: Proto) -> None:
    levels = numpy_helper.from_array(np.zeros((6, 3), np.int8), "levels")
    model.graph.initializer.append(levels)
    append(model, "DequantizeLinear", 1, np.ones(4, np.float32), axis=0)
    model.graph.node[-1].input[0] = "levels"


def other_split(model: Proto) -> None:
    append(model, "Split", 3, axis=1, num_outputs=2)


def two_limits(model: Proto) -> None:
    append(model, "Clip", 1, np.zeros(2, np.float32))


def pads_of_two_axes(model: Proto) -> None:
    append(model, "Pad", 1, np.ones(4, np.int64))


def untyped_output(model: Proto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = 0


BAD: dict[str, tuple[Callable[[Proto], None], str]] = {
    "convolution without weight": (without_inputs("Conv", 1), "1 inputs; expected 2 to 3"),
    "convolution without inputs": (without_inputs("Conv"), "0 inputs"),
    "convolution with empty weight": (empty_input, "has no input 1"),
    "pool without input": (without_inputs("MaxPool"), "0 inputs; expected 1"),
    "unpooling without indices": (without_inputs("MaxUnpool", 1), "expected 2 to 3"),
    "relu without input": (without_inputs("Relu"), "0 inputs"),
    "kernel_shape missing": (with_attribute("MaxPool", "kernel_shape", None), "no attribute"),
    "ints are an int": (with_attribute("MaxPool", "strides", 2), "of type INT; expected INTS"),
    "ints are text": (with_attribute("MaxPool", "strides", "2"), "of type STRING"),
    "int is a float": (with_attribute("MaxPool", "ceil_mode", 1.0), "expected INT"),
    "text is a number": (with_attribute("Conv", "auto_pad", 3), "expected STRING"),
    "stride 0": (with_attribute("MaxPool", "strides", [0, 2]), r"strides \[0, 2\]; expected 1"),
    "negative pads": (with_attribute("Conv", "pads", [-1] * 4), r"pads \[-1"),
    "absurd pads": (with_attribute("Conv", "pads", [2**31] * 4), "expected 0 to 8192"),
    "three strides": (with_attribute("MaxPool", "strides", [2, 2, 2]), "3 strides; expected 2"),
    "no group": (with_attribute("Conv", "group", 0), "no group"),
    "output shape of two axes": (flat_output_shape, "output_shape"),
    "scales of another axis": (scales_of_another_axis, "4 scales for an axis of 6"),
    "split into another number": (other_split, "splits into 2, but has 3 outputs"),
    "two limits": (two_limits, "more than one limit"),
    "pads of two axes": (pads_of_two_axes, "4 pads for 4 axes"),
    "unknown attribute": (with_attribute("Conv", "colour", 3), "does not define"),
    "attribute of a function": (reference, "attribute of a function"),
    "value that nothing computes": (rename_input, "'nowhere', which nothing computes"),
    "output that nothing computes": (unknown_output, "'nowhere', which nothing computes"),
    "output without type": (untyped_output, "'logits' has no type"),
    "one output twice": (same_outputs, "two outputs have one name"),
    "pool without values": (nameless_first_output, "no first output"),
    "weight that is computed": (two_origins, "not an ONNX file"),
    "input that is computed": (computed_input, "not an ONNX file"),
    "value computed twice": (computed_twice, "not an ONNX file"),
    "circle": (circle, "form a circle"),
    "long circle": (longer_circle, "form a circle"),
    "short weight": (short_weight, "holds 644 bytes; expected 648"),
    "weight of other shape": (other_shape, "holds 648 bytes; expected 756"),
    "few floats": (few_floats, "holds 7 values; expected 162"),
    "constant of other shape": (constant_of_other_shape, "holds 2 values; expected 3"),
    "negative shape": (negative_shape, "has the shape"),
    "weight without type": (no_type, "no type|not an ONNX file"),
    "weight of unknown type": (unknown_type, "not an ONNX file"),
    "absurd size": (size_of(1, 3, 100_000, 100_000), "has the shape"),
    "size of 64 bits": (size_of(1, 3, 2**62, 2), "has the shape"),
    "size 0": (size_of(1, 3, 0, 8), "has the shape"),
    "many dimensions": (many_dimensions, "17 dimensions"),
    "operator of another domain": (other_domain, "only ONNX's own operators"),
    "operator not of our domain": (of_our_domain, "not an operator of the domain 'segnet'"),
    "no operator": (no_operator, "not an operator of ONNX opset 20"),
    "no opset": (no_opset, "imports no ONNX opset"),
    "negative opset": (negative_opset, "opset -1"),
    "function named like an operator": (own_relu, "defines a function 'Relu'"),
    "functions in a circle": (functions_in_a_circle, "in a circle"),
    "functions that grow": (functions_that_grow, "after its functions are inserted"),
    "much metadata": (much_metadata, "characters of metadata"),
}
