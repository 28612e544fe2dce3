"""The one check of an ONNX model where it enters: after it, passes and runtimes may rely on it.

The structure, the operators, every tensor's bytes and the sizes are checked, in a time that does
not depend on the weights. What ONNX allows in several ways is brought to one: nodes in an order in
which they can be computed, weights that are no inputs, and unknown sizes without a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from segnet_deploy.errors import InputError
from segnet_deploy.passes import contract
from segnet_deploy.runtimes.check_geometry import check_geometry
from segnet_deploy.runtimes.check_nodes import MAX_PORTS, check_node
from segnet_deploy.runtimes.external_data import check_external_tensor

MAX_NODES = 100_000
MAX_RANK = 16
MAX_ELEMENTS = 2**31 - 1  # of one value: runtimes count them in 32 bits
MAX_METADATA_BYTES = 2**20
_OWN_DOMAINS = ("", "ai.onnx", contract.DOMAIN)
# The field of a TensorProto that holds its values if raw_data does not; int32_data for other types.
_FIELDS = {
    "FLOAT": "float_data",
    "INT64": "int64_data",
    "DOUBLE": "double_data",
    "UINT32": "uint64_data",
    "UINT64": "uint64_data",
    "STRING": "string_data",
}
_PARTS = {"COMPLEX64": ("float_data", 2), "COMPLEX128": ("double_data", 2)}

Scope = ir.Graph | ir.Function


def check_model(model: ir.Model, path: Path) -> None:
    """Raise InputError unless `model`, read from `path`, is one that passes can rely on.

    Works in place: sorts the nodes, and takes weights out of the inputs.
    """
    try:
        _check_facts(model)
        scopes: list[Scope] = [*model.graphs(), *model.functions.values()]
        for scope in scopes:
            _check_text(scope)
        _check_functions(model)
        for scope in scopes:
            _check_names(scope)
            versions = scope.opset_imports if isinstance(scope, ir.Function) else None
            for node in scope:
                check_node(node, versions or model.opset_imports)
        for node in model.graph.all_nodes():
            if any(attribute.is_ref() for attribute in node.attributes.values()):
                raise InputError(f"'{node.name}' refers to an attribute of a function")
        for function in model.functions.values():
            _sort(function)
        _sort(model.graph)
        for tensor in _tensors(scopes):
            _check_tensor(tensor, path)
        _check_sizes(scopes)
        for scope in scopes:
            for node in scope:
                check_geometry(node)
        _check_inputs(model)
    except InputError as error:
        raise InputError(f"{path} is not valid ONNX, export it again: {error}") from error


def _check_facts(model: ir.Model) -> None:
    """Check versions, metadata and the number of nodes."""
    for domain, version in model.opset_imports.items():
        if not 1 <= version < 2**31:
            raise InputError(f"opset {version} of the domain {domain[:80]!r}; expected 1 or more")
    size = sum(len(key) + len(value) for key, value in model.metadata_props.items())
    if size > MAX_METADATA_BYTES:
        raise InputError(f"{size} characters of metadata; expected at most {MAX_METADATA_BYTES}")
    count = sum(1 for graph in model.graphs() for _ in graph)
    count += sum(1 for function in model.functions.values() for _ in function.all_nodes())
    if count > MAX_NODES:
        raise InputError(f"{count} nodes; expected at most {MAX_NODES}")
    if len(model.graph.initializers) > MAX_NODES:
        raise InputError(f"{len(model.graph.initializers)} initializers; expected fewer")


def _check_text(scope: Scope) -> None:
    """Check that names are text; damaged ones are bytes."""
    values = [*scope.inputs, *scope.outputs, *(v for node in scope for v in node.outputs)]
    names: list[object] = [value.name for value in values]
    for node in scope:
        names += (node.op_type, node.domain, node.name, *node.attributes)
        names += (value.name for value in node.inputs if value is not None)
    if not all(name is None or isinstance(name, str) for name in names):
        raise InputError("a name is not text")


def _check_functions(model: ir.Model) -> None:
    """Check that no function has an operator's name, calls itself, or grows without limit."""
    sizes: dict[ir.OperatorIdentifier, int] = {}
    pending = dict(model.functions)
    while pending:
        ready = {
            key: function
            for key, function in pending.items()
            if not any(node.op_identifier() in pending for node in function.all_nodes())
        }
        if not ready:
            names = ", ".join(key[1][:80] for key in list(pending)[:3])
            raise InputError(f"functions call one another in a circle: {names}")
        for key, function in ready.items():
            if key[0] in _OWN_DOMAINS:
                raise InputError(f"it defines a function {key[1][:80]!r} of the domain {key[0]!r}")
            sizes[key] = sum(sizes.get(n.op_identifier(), 1) for n in function.all_nodes())
            del pending[key]
    total = sum(sizes.get(node.op_identifier(), 1) for node in model.graph.all_nodes())
    if total > MAX_NODES:
        raise InputError(f"{total} nodes after its functions are inserted; expected fewer")


def _check_names(scope: Scope) -> None:
    """Check that every value that is read has one origin: an input, an initializer or a node."""
    inputs = [value.name for value in scope.inputs]
    outputs = [value.name for value in scope.outputs]
    for what, names in (("inputs", inputs), ("outputs", outputs)):
        if len(set(names)) < len(names) or not all(names):
            raise InputError(f"two {what} have one name, or one has none")
        if len(names) > MAX_PORTS:
            raise InputError(f"{len(names)} {what}; expected at most {MAX_PORTS}")
    for value in scope.outputs:
        _check_origin(value, "the outputs")
    for node in scope:
        for value in filter(None, node.inputs):
            _check_origin(value, f"{node.op_type[:80]} '{(node.name or '')[:80]}'")


def _check_origin(value: ir.Value, reader: str) -> None:
    if value.producer() is None and not (value.is_graph_input() or value.is_initializer()):
        raise InputError(f"{reader} read '{_short(value)}', which nothing computes")


def _sort(graph: Scope) -> None:
    """Sort the nodes so that each comes after those whose results it reads."""
    if _is_sorted(graph):
        return
    try:
        graph.sort()
    except ValueError:
        raise InputError("its nodes form a circle") from None


def _is_sorted(graph: Scope) -> bool:
    seen: set[ir.Node] = set()
    for node in graph.all_nodes():
        for value in node.inputs:
            before = None if value is None else value.producer()
            if before is not None and before not in seen:
                return False
        if any(a.type.name in ("GRAPH", "GRAPHS") for a in node.attributes.values()):
            return False  # the order of a subgraph and its surroundings is left to the sort
        seen.add(node)
    return True


def _tensors(scopes: Iterable[Scope]) -> Iterator[ir.TensorProtocol]:
    """Yield the tensors of all graphs: initializers, and constants of nodes."""
    for scope in scopes:
        if isinstance(scope, ir.Graph):
            for value in scope.initializers.values():
                if value.const_value is None:
                    raise InputError(f"weight '{_short(value)}' has no values")
                yield value.const_value
        for node in scope:
            for attribute in node.attributes.values():
                if attribute.is_ref():
                    continue
                if attribute.type == ir.AttributeType.TENSOR:
                    yield attribute.as_tensor()
                elif attribute.type == ir.AttributeType.TENSORS:
                    yield from attribute.as_tensors()


def _check_tensor(tensor: ir.TensorProtocol, path: Path) -> None:
    """Check that a tensor holds as many values as its shape says."""
    name, dims = str(tensor.name)[:80], tensor.shape.numpy()
    if tensor.dtype == ir.DataType.UNDEFINED:
        raise InputError(f"tensor '{name}' has no type")
    _check_shape(f"tensor '{name}'", dims)
    if isinstance(tensor, ir.ExternalTensor):
        check_external_tensor(tensor, path)
        return
    if tensor.dtype == ir.DataType.STRING:
        try:
            tensor.numpy()
        except ValueError as error:
            raise InputError(f"tensor '{name}' of text: {error}") from None
    proto = tensor.raw
    if not isinstance(proto, onnx.TensorProto):
        return  # made from an attribute's numbers
    have, want = _stored(proto, tensor.dtype.name), math.prod(dims)
    if proto.HasField("raw_data"):
        want = math.ceil(want * tensor.dtype.bitwidth / 8)
    if have != want:
        raise InputError(
            f"tensor '{name}' of {tensor.dtype.name} and shape {list(dims)} holds {have} "
            f"{'bytes' if proto.HasField('raw_data') else 'values'}; expected {want}"
        )


def _stored(proto: onnx.TensorProto, dtype: str) -> int:
    """Return the number of stored bytes, or of values in the field of the type."""
    if proto.HasField("raw_data"):
        return len(proto.raw_data)
    field, parts = _PARTS.get(dtype, (_FIELDS.get(dtype, "int32_data"), 1))
    return len(getattr(proto, field)) // parts


def _check_sizes(scopes: Iterable[Scope]) -> None:
    for scope in scopes:
        for value in (*scope.inputs, *scope.outputs, *(v for n in scope for v in n.outputs)):
            if value.dtype == ir.DataType.UNDEFINED:
                raise InputError(f"'{_short(value)}' has no type")
            if value.shape is not None:
                _forget_negative_sizes(value)
                _check_shape(f"'{_short(value)}'", tuple(value.shape))


def _check_shape(what: str, dims: Sequence[int | ir.SymbolicDimProtocol]) -> None:
    if len(dims) > MAX_RANK:
        raise InputError(f"{what} has {len(dims)} dimensions; expected at most {MAX_RANK}")
    known = [size for size in dims if isinstance(size, int)]
    if min(known, default=0) < 0 or math.prod(known) > MAX_ELEMENTS:
        raise InputError(
            f"{what} has the shape {list(map(str, dims))}; expected up to {MAX_ELEMENTS} values"
        )


def _forget_negative_sizes(value: ir.Value) -> None:
    """Make sizes below 0, which some exporters write for dynamic ones, unknown."""
    assert value.shape is not None
    if any(isinstance(size, int) and size < 0 for size in value.shape):
        sizes = [None if isinstance(s, int) and s < 0 else s for s in value.shape]
        value.shape = ir.Shape(sizes)


def _check_inputs(model: ir.Model) -> None:
    """Take the weights out of the graph's inputs, where older exporters list them too."""
    graph = model.graph
    images = [value for value in graph.inputs if not value.is_initializer()]
    if not images:
        raise InputError("every input is a weight")
    for value in images:
        if value.shape is not None and 0 in tuple(value.shape):
            raise InputError(f"input '{_short(value)}' has the shape {value.shape}")
    if len(images) < len(graph.inputs):
        graph.inputs.clear()
        graph.inputs.extend(images)
        model.ir_version = max(model.ir_version, 4)  # older versions require them as inputs


def _short(value: ir.Value) -> str:
    return str(value.name)[:80]
