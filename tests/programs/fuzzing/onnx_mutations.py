"""Change an ONNX model where its structure is: nodes, attributes, tensors, values, metadata."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx import helper as h

Model = onnx.ModelProto
CANARY = "../canary/secret.bin"
NUMBERS = (0, -1, 1, 2, 3, 7, 16, 1000, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 1e-30, 1e38, float("nan"), float("inf"), float("-inf"))
TEXTS = ("", "VALID", "SAME_UPPER", "constant", "reflect", "linear", "DCR", "x" * 100_000, "\0")
DOMAINS = ("", "ai.onnx", "segnet", "com.microsoft", "theirs", "segnet_deploy.ncnn", "d" * 10_000)
OPERATORS = (
    *("Relu", "Conv", "MaxPool", "MaxUnpool", "Identity", "Dropout", "Softmax", "LogSoftmax"),
    *(
        "Transpose",
        "Reshape",
        "Slice",
        "Pad",
        "Concat",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Cast",
        "Shape",
    ),
    *("ArgMax", "PRelu", "Resize", "ConvTranspose", "BatchNormalization", "LRN", "AveragePool"),
    *("GlobalAveragePool", "Gather", "ScatterND", "Where", "SpaceToDepth", "DepthToSpace", "Split"),
    *("QuantizeLinear", "DequantizeLinear", "Constant", "ConstantOfShape", "Expand", "Tile"),
    *("If", "Loop", "SegNetMaxPool", "SegNetMaxUnpool", "Clip", "Unsqueeze", "Range", "Nonsense"),
)
LOCATIONS = (
    *(CANARY, "../../canary/secret.bin", "/dev/zero", "/proc/self/environ", "", ".", "..", "a\0b"),
    *("a" * 5000, "m.onnx", "link.bin", "missing.bin", "https://localhost/w.bin", "C:\\w.bin"),
)


def mutate_model(model: Model, rng: random.Random) -> bytes:
    """Return the file of `model`, a copy that may be changed, after one to three mutations."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(_CHANGES)
        try:
            change(model, rng)
        except (IndexError, ValueError, TypeError, KeyError, OverflowError):
            continue  # an earlier mutation removed what this one changes
    return bytes(model.SerializeToString())


def _node(model: Model, rng: random.Random) -> Any:
    return rng.choice(list(model.graph.node))


def _names(model: Model) -> list[str]:
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    return [*names, *(tensor.name for tensor in model.graph.initializer), "nowhere", ""]


def _change_inputs(model: Model, rng: random.Random) -> None:
    node = _node(model, rng)
    at, how = rng.randrange(len(node.input)), rng.randrange(6)
    if how == 0:
        del node.input[at]
    elif how == 1:
        del node.input[at:]
    elif how == 2:
        node.input.append(rng.choice(_names(model)))
    elif how == 3:
        node.input.insert(0, rng.choice(_names(model)))
    else:
        node.input[at] = "" if how == 4 else rng.choice(_names(model))


def _change_outputs(model: Model, rng: random.Random) -> None:
    node = _node(model, rng)
    at, how = rng.randrange(len(node.output)), rng.randrange(4)
    if how == 0:
        del node.output[at]
    elif how == 1:
        node.output.append(rng.choice((*_names(model), "new")))
    else:
        node.output[at] = rng.choice(("", "other", *_names(model)))


def _change_operator(model: Model, rng: random.Random) -> None:
    node = _node(model, rng)
    if rng.random() < 0.4:
        node.domain = rng.choice(DOMAINS)
    else:
        node.op_type = rng.choice(OPERATORS)


def _change_attribute(model: Model, rng: random.Random) -> None:
    node = rng.choice([node for node in model.graph.node if node.attribute])
    at = rng.randrange(len(node.attribute))
    attribute, how = node.attribute[at], rng.randrange(9)
    if how == 0:
        del node.attribute[at]
    elif how == 1:
        attribute.type = rng.randrange(16)
    elif how == 2:
        attribute.ref_attr_name = "outer"
    elif how == 3:
        node.attribute.append(attribute)
    elif how == 4:
        value = rng.choice((*NUMBERS, *FLOATS, *TEXTS, [1, 2], [1.5], ["a"]))
        attribute.CopyFrom(h.make_attribute(attribute.name, value))
    else:
        _change_value(attribute, rng)


def _change_value(attribute: AttributeProto, rng: random.Random) -> None:
    number = rng.choice(NUMBERS)
    if attribute.type == AttributeProto.INT:
        attribute.i = number
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = rng.choice(FLOATS)
    elif attribute.type == AttributeProto.STRING:
        attribute.s = rng.choice(TEXTS).encode()
    elif attribute.type == AttributeProto.INTS:
        how = rng.randrange(4)
        if how == 0:
            del attribute.ints[rng.randrange(len(attribute.ints)) :]
        elif how == 1:
            attribute.ints.extend([number] * rng.choice((1, 4)))
        elif how == 2:
            attribute.ints[:] = [number] * len(attribute.ints)
        else:
            attribute.ints[rng.randrange(len(attribute.ints))] = number
    elif attribute.type == AttributeProto.TENSOR:
        _change_tensor(attribute.t, rng)


def _add_attribute(model: Model, rng: random.Random) -> None:
    names = ("axis", "axes", "pads", "strides", "dilations", "kernel_shape", "auto_pad", "group")
    names += ("ceil_mode", "storage_order", "output_shape", "keepdims", "to", "value", "mode")
    values = (*NUMBERS, *TEXTS[:6], [1, 1], [0, 0, 1, 1], [2, 2], [-1, 3], 0.5)
    _node(model, rng).attribute.append(h.make_attribute(rng.choice(names), rng.choice(values)))


def _change_order(model: Model, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    how = rng.randrange(4)
    if how == 0:
        rng.shuffle(nodes)
    elif how == 1:
        nodes.remove(rng.choice(nodes))
    elif how == 2:
        nodes.append(rng.choice(nodes))
    else:
        nodes.reverse()
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _insert_node(model: Model, rng: random.Random) -> None:
    """Put an operator, usually with what it needs, between two nodes."""
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("Relu", {}),
        ("Identity", {}),
        ("Dropout", {}),
        ("Sigmoid", {}),
        ("Softmax", {"axis": rng.choice((1, -3, -1, 0, 5))}),
        ("LogSoftmax", {"axis": rng.choice((1, -3, 3))}),
        ("Transpose", {"perm": rng.choice(([0, 1, 3, 2], [0, 2, 3, 1], [0], [0, 0, 0, 0]))}),
        ("MaxPool", {"kernel_shape": rng.choice(([2, 2], [3, 3], [2], [0, 0])), "ceil_mode": 1}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4}),
        ("Cast", {"to": rng.choice((1, 6, 7, 10, 16, 11, 99))}),
        ("ArgMax", {"axis": rng.choice((1, -3, 2)), "keepdims": rng.choice((0, 1))}),
        ("LRN", {"size": rng.choice((3, 5, 4, 0))}),
        ("GlobalAveragePool", {}),
        ("Shape", {}),
    )
    op_type, attributes = rng.choice(kinds)
    node = _node(model, rng)
    at = rng.randrange(len(node.input))
    new = h.make_node(op_type, [node.input[at]], ["inserted"], name="inserted", **attributes)
    node.input[at] = "inserted"
    model.graph.node.insert(rng.choice((0, len(model.graph.node) // 2)), new)


def _change_initializer(model: Model, rng: random.Random) -> None:
    at = rng.randrange(len(model.graph.initializer))
    tensor, how = model.graph.initializer[at], rng.randrange(6)
    if how == 0:
        del model.graph.initializer[at]
    elif how == 1:
        model.graph.initializer.append(tensor)
    elif how == 2:
        info = h.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.insert(rng.choice((0, 1)), info)
    elif how == 3:
        _make_external(tensor, rng)
    else:
        _change_tensor(tensor, rng)


def _change_tensor(tensor: TensorProto, rng: random.Random) -> None:
    how = rng.randrange(7)
    if how == 0:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    elif how == 1:
        tensor.dims.extend([rng.choice((1, 2, -1))] * rng.choice((1, 20)))
    elif how == 2:
        tensor.data_type = rng.choice((0, 1, 2, 3, 7, 8, 9, 10, 11, 16, 17, 23, 99))
    elif how == 3:
        tensor.raw_data = tensor.raw_data[: -rng.choice((1, 4, 100))]
    elif how == 4:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0] * rng.choice((1, 7, 100)))
    else:
        array = numpy_helper.to_array(tensor).copy().reshape(-1)
        values = FLOATS if array.dtype.kind == "f" else NUMBERS[:8]
        array[rng.choice((slice(None), rng.randrange(len(array))))] = rng.choice(values)
        dims = list(tensor.dims)
        tensor.CopyFrom(numpy_helper.from_array(array.reshape(dims), tensor.name))


def _make_external(tensor: TensorProto, rng: random.Random) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": rng.choice(LOCATIONS)}
    for name in ("offset", "length"):
        if rng.random() < 0.3:
            entries[name] = str(rng.choice((*NUMBERS, "x")))
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def _change_ports(model: Model, rng: random.Random) -> None:
    graph = model.graph
    ports = rng.choice((graph.input, graph.output, graph.value_info))
    port = rng.choice(list(ports))
    tensor, how = port.type.tensor_type, rng.randrange(8)
    if how == 0:
        del ports[:]
    elif how == 1:
        ports.append(port)
    elif how == 2:
        port.name = rng.choice(_names(model))
    elif how == 3:
        tensor.elem_type = rng.choice((0, 1, 2, 7, 8, 10, 11, 16, 99))
    elif how == 4:
        tensor.ClearField("shape")
    elif how == 5:
        tensor.shape.dim.add(dim_value=rng.choice(NUMBERS))
    else:
        size = tensor.shape.dim[rng.randrange(len(tensor.shape.dim))]
        if rng.random() < 0.3:
            size.dim_param = rng.choice(("n", "h", "", "x" * 10_000))
        else:
            size.dim_value = rng.choice((*NUMBERS, 5, 17, 3000))


def _change_model(model: Model, rng: random.Random) -> None:
    how = rng.randrange(5)
    if how == 0:
        model.opset_import[0].version = rng.choice((0, -1, 1, 7, 9, 10, 12, 13, 22, 99, 2**40))
    elif how == 1:
        model.opset_import[0].domain = rng.choice(DOMAINS)
    elif how == 2:
        model.ir_version = rng.choice((0, 1, 3, 4, 99, 2**40))
    elif how == 3:
        _add_function(model, rng)
    else:
        name = f"deep{rng.randrange(1000)}"
        _nest(model, name, rng.choice((3, 20, 60)))


def _add_function(model: Model, rng: random.Random) -> None:
    node = _node(model, rng)
    domain = rng.choice(("theirs", node.domain, ""))
    body = [h.make_node(rng.choice((node.op_type, "Relu", "F")), ["a"], ["b"], domain=domain)]
    function = h.make_function(domain, node.op_type, ["a"], ["b"], body, model.opset_import)
    model.functions.append(function)
    node.domain = domain


def _nest(model: Model, name: str, depth: int) -> None:
    """Add an If in an If in an If."""
    inner = h.make_graph(
        [h.make_node("Relu", [model.graph.input[0].name], [f"{name}_0"])],
        "g",
        [],
        [h.make_tensor_value_info(f"{name}_0", TensorProto.FLOAT, None)],
    )
    for level in range(1, depth):
        branch = h.make_node(
            "If", ["condition"], [f"{name}_{level}"], then_branch=inner, else_branch=inner
        )
        out = h.make_tensor_value_info(f"{name}_{level}", TensorProto.FLOAT, None)
        inner = h.make_graph([branch], "g", [], [out])
        if inner.ByteSize() > 200_000:
            break
    model.graph.node.extend(inner.node)


def _change_metadata(model: Model, rng: random.Random) -> None:
    entry = rng.choice(list(model.metadata_props))
    entry.value = rng.choice(
        (
            *("", "null", "[]", "{}", "-1", "1e999", "NaN", '"x"', "[1, 2]", "[[1]]", "[null]"),
            *("[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, "true", '["a", "b"]'),
            *("[0, 0, 0]", "[1e30, 1e30, 1e30]", '[["a", 1, 2]]', "9" * 5000, "\ud7ff", "32"),
        )
    )


_CHANGES: tuple[Callable[[Model, random.Random], None], ...] = (
    *(_change_inputs, _change_inputs, _change_outputs, _change_operator, _change_operator),
    *(_change_attribute, _change_attribute, _change_attribute, _add_attribute, _change_order),
    *(_insert_node, _insert_node, _change_initializer, _change_initializer, _change_ports),
    *(_change_ports, _change_model, _change_metadata),
)
