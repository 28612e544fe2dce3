"""Check the nodes of a graph against ONNX's own definitions of its operators.

Afterwards every pass may rely on the inputs, outputs and attributes that a node must have, and on
the types of its attributes. Operators of other domains are left to the runtimes, but none may have
the name of an ONNX operator: passes would take it for that.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from segnet_deploy.errors import InputError
from segnet_deploy.passes import contract

MAX_PORTS = 4096  # inputs or outputs of one node


@dataclass(frozen=True)
class _Definition:
    """What a node must have: counts of inputs and outputs, and the types of its attributes."""

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    required_inputs: tuple[int, ...]
    attributes: Mapping[str, str]
    required_attributes: tuple[str, ...] = ()


def check_node(node: ir.Node, versions: Mapping[str, int]) -> None:
    """Raise InputError unless `node` fits its operator; `versions` are the opset imports."""
    definition = _definition_of(node, versions)
    if definition is None:
        return
    _check_count(node, "inputs", len(node.inputs), definition.inputs)
    _check_count(node, "outputs", len(node.outputs), definition.outputs)
    for index in definition.required_inputs:
        if index < len(node.inputs) and node.inputs[index] is None:
            raise _error(node, f"has no input {index}")
    if not node.outputs[0].name:
        raise _error(node, "has no first output")
    for name, attribute in node.attributes.items():
        wanted, found = definition.attributes.get(name), attribute.type.name
        if wanted is None:
            raise _error(node, f"has the attribute {name[:80]!r}, which its opset does not define")
        if found != wanted:
            raise _error(node, f"has the attribute {name!r} of type {found}; expected {wanted}")
    for name in definition.required_attributes:
        if name not in node.attributes:
            raise _error(node, f"has no attribute {name!r}")


def _definition_of(node: ir.Node, versions: Mapping[str, int]) -> _Definition | None:
    """Return the definition of a node's operator, or None if another domain defines it."""
    if node.domain == contract.DOMAIN:
        if node.op_type not in _PLUGIN:
            raise _error(node, f"is not an operator of the domain {contract.DOMAIN!r}")
        return _PLUGIN[node.op_type]
    if node.domain:
        if onnx.defs.has(node.op_type, ""):
            raise _error(
                node,
                f"has the name of an ONNX operator but is of the domain {node.domain[:80]!r}; "
                "only ONNX's own operators are supported under their names",
            )
        return None
    version = versions.get("")
    if version is None:
        raise _error(node, "is an operator of ONNX, but the file imports no ONNX opset")
    found = _from_onnx(node.op_type, version)
    if found is None and version <= onnx.defs.onnx_opset_version():
        raise _error(node, f"is not an operator of ONNX opset {version}")
    return found


@functools.cache
def _from_onnx(op_type: str, version: int) -> _Definition | None:
    try:
        schema = onnx.defs.get_schema(op_type, version, "")
    except onnx.defs.SchemaError:
        return None
    options = onnx.defs.OpSchema.FormalParameterOption
    required = [i for i, port in enumerate(schema.inputs) if port.option == options.Single]
    if schema.inputs and schema.inputs[-1].option == options.Variadic:
        required += range(len(schema.inputs) - 1, MAX_PORTS)
    return _Definition(
        (schema.min_input, schema.max_input),
        (max(1, schema.min_output), schema.max_output),
        tuple(required),
        {name: attribute.type.name for name, attribute in schema.attributes.items()},
        tuple(name for name, attribute in schema.attributes.items() if attribute.required),
    )


def _plugin_definition(
    inputs: tuple[int, int], outputs: int, required: tuple[int, ...], *ints: str
) -> _Definition:
    types = {"plugin_version": "STRING", "plugin_namespace": "STRING"}
    return _Definition(inputs, (outputs, outputs), required, types | dict.fromkeys(ints, "INT"))


_LAYOUT = ("ceil_mode", "layout", "channels_last")
_PLUGIN = {
    contract.POOL: _plugin_definition((1, 1), 2, (0,), *_LAYOUT),
    contract.UNPOOL: _plugin_definition((2, 3), 1, (0, 1), "height", "width", "level", *_LAYOUT),
}


def _check_count(node: ir.Node, what: str, count: int, limits: tuple[int, int]) -> None:
    low, high = limits[0], min(limits[1], MAX_PORTS)
    if not low <= count <= high:
        wanted = str(low) if low == high else f"{low} to {high}"
        raise _error(node, f"has {count} {what}; expected {wanted}")


def _error(node: ir.Node, why: str) -> InputError:
    return InputError(f"{node.op_type[:80]} '{(node.name or '')[:80]}' {why}")
