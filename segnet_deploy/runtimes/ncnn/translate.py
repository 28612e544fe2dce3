"""Translate an ONNX graph to a program: ncnn nets, and steps of the host between their blobs.

The host pools and unpools, normalises the frame and computes the label map. ncnn's pools return no
indices, and its Python binding copies the list of outputs, so that a layer written in Python cannot
return two of them. A value with several uses is split, since ncnn frees a blob after its first use.

The layers before the last pool form a separate net, whose convolutions keep ties: equal
neighbourhoods must give equal values, or flat areas get other indices than in PyTorch. Convolutions
of integers always keep them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.native.max_unpool import MAX_CLASSES
from segnet_deploy.passes import contract
from segnet_deploy.passes.fuse_lrn import fuse_lrn
from segnet_deploy.passes.graph import constant, int_attribute, ints_attribute
from segnet_deploy.passes.sampling_names import is_mask
from segnet_deploy.passes.to_plugin_ops import to_plugin_ops
from segnet_deploy.passes.to_symmetric_int8 import to_symmetric_int8
from segnet_deploy.passes.unpooling_pairs import find_pairs
from segnet_deploy.runtimes.ncnn import integers, log_softmax
from segnet_deploy.runtimes.ncnn.integers import is_integer, to_integer_layers
from segnet_deploy.runtimes.ncnn.layers import (
    IDENTITIES,
    Layer,
    axis_of,
    constant_layer,
    to_layer,
    unsupported,
)
from segnet_deploy.runtimes.ncnn.program import HostStep, Net, Program
from segnet_deploy.runtimes.ncnn.shapes import check_shapes

_ARITHMETIC = {"Sub": np.subtract, "Div": np.divide, "Mul": np.multiply, "Add": np.add}


def to_program(model: ir.Model) -> Program:
    """Translate `model` (float32 or int8, standard or plugin form) and rewrite it in place.

    Raises UnsupportedModelError that names a node which neither ncnn nor the host supports.
    """
    if len(model.graph.inputs) > 1:
        raise UnsupportedModelError(
            "it samples its dropout, and ncnn's nets here have one image as their only input"
            if is_mask(str(model.graph.inputs[1].name))
            else f"it has {len(model.graph.inputs)} inputs; expected one"
        )
    check_shapes(model)
    to_symmetric_int8(model)
    fuse_lrn(model)
    indices = _remove_index_outputs(model.graph)
    to_plugin_ops(model)
    to_integer_layers(model)
    log_softmax.split_log_softmax(model)
    return _Translator(model.graph, indices).translate()


def _remove_index_outputs(graph: ir.Graph) -> dict[str, int]:
    """Remove pool indices from the graph's outputs; return the stage of each by its name."""
    found = [v for v in graph.outputs if (p := v.producer()) is not None and v is not p.outputs[0]]
    kept = [v for v in graph.outputs if not any(v is index for index in found)]
    graph.outputs.clear()
    graph.outputs.extend(kept)
    stages = {id(pair.pool.outputs[1]): stage for stage, pair in enumerate(find_pairs(graph))}
    for value in found:
        if id(value) not in stages:
            raise _unsupported(value, "it is a second output but not the indices of a pool")
    return {str(value.name): stages[id(value)] for value in found}


class _Translator:
    """Translates one graph. Each use of a value gets a separate blob."""

    def __init__(self, graph: ir.Graph, indices: dict[str, int]):
        self._graph, self._indices = graph, indices
        self._program = Program()
        self._blobs: dict[int, Iterator[str]] = {}  # id of a value -> a blob for each use
        self._aliases: dict[int, ir.Value] = {}  # id of a value -> the value it is equal to
        self._host_values: dict[int, str] = {}  # id of a value of the host -> its name
        self._count = 0

    def translate(self) -> Program:
        image, skip = self._read_normalisation()
        pooled = [node.inputs[0] for node in self._graph if _is_plugin_op(node, contract.POOL)]
        pools_left = len(pooled)
        self._program.nets.append(Net(keeps_ties=not all(map(is_integer, pooled))))
        self._program.input_blob = self._add_input(image)
        pools: list[str] = []
        for node in self._graph:
            if id(node) in skip:
                continue
            if node.op_type in IDENTITIES and not node.domain:
                _check_dropout(node)
                self._aliases[id(node.outputs[0])] = self._resolve(node.inputs[0])
            elif _is_plugin_op(node, contract.POOL):
                pools_left -= 1
                pools.append(self._add_pool(node, pools_left == 0))
            elif _is_plugin_op(node, contract.UNPOOL):
                self._add_unpool(node)
            elif node.op_type == "ArgMax" and not node.domain:
                self._add_label_map(node)
            elif node.op_type == "Cast" and not node.domain:
                self._add_cast(node)
            else:
                self._add_layer(node, skip)
        for value in self._graph.outputs:
            name = self._next_blob(value)
            self._program.outputs[str(value.name)] = name
            self._program.steps.append(HostStep("output", (name,), ()))
        self._program.indices = {name: pools[stage] for name, stage in self._indices.items()}
        return self._program

    def _read_normalisation(self) -> tuple[ir.Value, set[int]]:
        """Read the normalisation before the first layer; return its result and its nodes' ids."""
        value = self._graph.inputs[0]
        if value.dtype not in (ir.DataType.FLOAT, ir.DataType.UINT8):
            raise _unsupported(value, f"the input is {value.dtype}; expected float32 or uint8")
        skip: set[int] = set()
        is_frame = value.dtype == ir.DataType.UINT8
        while len(uses := _data_uses(value)) == 1:
            node = uses[0].node
            if not self._add_normalisation(node, value, is_frame):
                break
            skip.add(id(node))
            value = node.outputs[0]
        if is_frame and self._program.channel_order is None:
            raise _unsupported(value, "the input is uint8 but not a frame (N, H, W, C)")
        return value, skip

    def _add_normalisation(self, node: ir.Node, value: ir.Value, is_frame: bool) -> bool:
        """Add `node`, which uses `value`, to the normalisation; return False if it is a layer."""
        program = self._program
        operand = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if is_frame and node.op_type == "Transpose" and program.channel_order is None:
            perm = ints_attribute(node, "perm", ())
            program.channel_order = (0, 1, 2) if perm == (0, 3, 1, 2) else None
            return program.channel_order is not None
        if is_frame and node.op_type == "Gather" and program.channel_order and operand is not None:
            order = program.channel_order
            picked = [int(i) for i in operand.reshape(-1)]
            if axis_of(node, 0) != 1 or not all(-len(order) <= i < len(order) for i in picked):
                return False
            program.channel_order = tuple(order[i] for i in picked)
            return True
        if is_frame and node.op_type == "Cast":
            return int_attribute(node, "to", 0) == int(ir.DataType.FLOAT)
        if node.op_type in _ARITHMETIC and node.inputs[0] is value and operand is not None:
            by_channel = operand.shape[-3:] == (operand.size, 1, 1)
            if operand.dtype != np.float32 or not (operand.size == 1 or by_channel):
                return False
            program.normalisation.append((_ARITHMETIC[node.op_type], operand.reshape(-1, 1, 1)))
            return True
        return False

    def _add_layer(self, node: ir.Node, skip: set[int]) -> None:
        """Add the layer of `node`, and a ReLU after it if the layer can apply that itself."""
        key = (node.domain, node.op_type)
        rule = integers.RULES.get(key) or log_softmax.RULES.get(key) or to_layer
        layer, result = rule(node), node.outputs[0]
        if any(output.uses() for output in node.outputs[1:]):
            raise unsupported(node, "it has more than one output")
        uses = _data_uses(result)
        after = uses[0].node if len(uses) == 1 and not result.is_graph_output() else None
        is_relu = after is not None and (after.domain, after.op_type) == ("", "Relu")
        if after is not None and is_relu and layer.fuse_relu():
            skip.add(id(after))
            result = after.outputs[0]
        sources = self._sources(node)
        self._program.nets[-1].weights += layer.weights
        self._write_layer(layer, sources, result)

    def _sources(self, node: ir.Node) -> list[str]:
        """Return the blobs that a layer reads; a constant of a Concat becomes a layer."""
        sources = []
        for index, value in enumerate(node.inputs):
            if value is not None and constant(value) is None:
                sources.append(self._local_blob(value))
            elif value is not None and node.op_type == "Concat":
                layer = constant_layer(node, index)
                self._program.nets[-1].weights += layer.weights
                name = self._new_name("b")
                sources += self._write_line(layer.kind, [], [name], str(layer))
        return sources

    def _add_pool(self, node: ir.Node, is_last: bool) -> str:
        """Add a pool, and a new net after the last one; return the name of its codes."""
        source, (values, codes) = self._next_blob(node.inputs[0]), node.outputs
        if is_last:
            self._program.nets.append(Net(keeps_ties=False))
        self._host_values[id(codes)] = name = self._new_name("codes")
        result = self._add_input(values)
        ceil_mode = bool(int_attribute(node, "ceil_mode", 0))
        self._program.steps.append(HostStep("pool", (source,), (result, name), ceil_mode))
        return name

    def _add_unpool(self, node: ir.Node) -> None:
        source, codes = self._next_blob(node.inputs[0]), node.inputs[1]
        if codes is None or id(codes) not in self._host_values:
            raise unsupported(node, "its codes are not the output of a pool")
        result = self._add_input(node.outputs[0])
        ceil_mode = bool(int_attribute(node, "ceil_mode", 1))
        sources = (source, self._host_values[id(codes)])
        self._program.steps.append(HostStep("unpool", sources, (result,), ceil_mode))

    def _add_cast(self, node: ir.Node) -> None:
        labels = self._host_values.get(id(node.inputs[0]))
        if labels is None:
            raise unsupported(node, "it is not between a label map and an output")
        dtype = ir.DataType(int_attribute(node, "to", 0)).numpy()
        self._host_values[id(node.outputs[0])] = name = self._new_name("labels")
        self._program.steps.append(HostStep("cast", (labels,), (name,), dtype=dtype))

    def _add_label_map(self, node: ir.Node) -> None:
        if axis_of(node, 0) != 1 or int_attribute(node, "keepdims", 1):
            raise unsupported(node, "only over channels without keepdims is supported")
        if int_attribute(node, "select_last_index", 0):
            raise unsupported(node, "select_last_index is not supported")
        shape = self._resolve(node.inputs[0]).shape
        if shape is not None and isinstance(shape[1], int) and shape[1] > MAX_CLASSES:
            raise unsupported(node, f"{shape[1]} channels; a label map holds up to {MAX_CLASSES}")
        self._host_values[id(node.outputs[0])] = name = self._new_name("labels")
        step = HostStep("labels", (self._next_blob(node.inputs[0]),), (name,))
        self._program.steps.append(step)

    def _resolve(self, value: ir.Value | None) -> ir.Value:
        assert value is not None
        return self._aliases.get(id(value), value)

    def _next_blob(self, value: ir.Value | None) -> str:
        """Return the blob for the next use of `value`, or its name if the host computes it."""
        value = self._resolve(value)
        if id(value) in self._host_values:
            return self._host_values[id(value)]
        try:
            return next(self._blobs[id(value)])
        except (KeyError, StopIteration):
            raise _unsupported(value, "no layer computes it") from None

    def _local_blob(self, value: ir.Value) -> str:
        """Return the blob for the next use of `value` in the current net, transferred if needed."""
        name, net = self._next_blob(value), self._program.nets[-1]
        if name in net.blobs:
            return name
        if all(name not in other.blobs for other in self._program.nets):
            raise _unsupported(value, "a layer uses it, but the host computes it")
        local = self._write_line("Input", [], [self._new_name("b")], "")[0]
        self._program.steps.append(HostStep("transfer", (name,), (local,)))
        return local

    def _count_uses(self, value: ir.Value) -> int:
        count = int(value.is_graph_output())
        for use in _data_uses(value):
            is_identity = use.node.op_type in IDENTITIES
            count += self._count_uses(use.node.outputs[0]) if is_identity else 1
        return count

    def _add_input(self, value: ir.Value) -> str:
        """Make `value` an input of the current net; return the blob that the host writes."""
        return self._write_layer(Layer("Input"), [], value)

    def _write_layer(self, layer: Layer, sources: list[str], value: ir.Value) -> str:
        """Write the layer that computes `value`, and a Split if it has several uses."""
        name = self._write_line(layer.kind, sources, [self._new_name("b")], str(layer))[0]
        count = self._count_uses(value)
        blobs = [name]
        if count > 1:
            names = [f"{name}_{number}" for number in range(count)]
            blobs = self._write_line("Split", [name], names, "")
        self._blobs[id(value)] = iter(blobs)
        return name

    def _write_line(
        self, kind: str, sources: list[str], results: list[str], parameters: str
    ) -> list[str]:
        fields = [kind, results[0], len(sources), len(results), *sources, *results, parameters]
        net = self._program.nets[-1]
        net.lines.append(" ".join(map(str, fields)).rstrip())
        net.blobs += results
        return results

    def _new_name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"


def _check_dropout(node: ir.Node) -> None:
    """Raise UnsupportedModelError if a Dropout is in training mode: it would change its input."""
    training = node.inputs[2] if node.op_type == "Dropout" and len(node.inputs) > 2 else None
    mode = constant(training)
    if training is not None and (mode is None or mode.any()):
        raise unsupported(node, "it drops values at random; export it in evaluation mode")


def _is_plugin_op(node: ir.Node, op_type: str) -> bool:
    return (node.domain, node.op_type) == (contract.DOMAIN, op_type)


def _data_uses(value: ir.Value) -> list[Any]:
    """Return the uses of `value`, without unpoolings that only read the size of the image."""
    return [
        use
        for use in value.uses()
        if not (_is_plugin_op(use.node, contract.UNPOOL) and use.idx == 2)
    ]


def _unsupported(value: ir.Value, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"'{value.name}' cannot be translated to ncnn: {why}")
