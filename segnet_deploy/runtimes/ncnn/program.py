"""Translate an ONNX graph to a program: ncnn nets, and the host steps between their blobs.

The host computes pools and unpoolings, the normalisation of frames and the label map. (ncnn has
no pool indices, and its Python binding copies the list of outputs, so a layer written in Python
cannot return two.) A value with several consumers is split, because ncnn frees a blob once it is
consumed.

The layers before the last pool form a separate net, whose convolutions keep ties: equal
neighbourhoods must give equal values there, or the indices of flat areas differ from PyTorch's.
Integer convolutions always keep ties.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.native.max_unpool import LABELS
from segnet_deploy.passes import contract
from segnet_deploy.passes.fuse_lrn import fuse_lrn
from segnet_deploy.passes.graph import constant, int_attribute
from segnet_deploy.passes.to_plugin_ops import to_plugin_ops
from segnet_deploy.passes.to_symmetric_int8 import to_symmetric_int8
from segnet_deploy.passes.unpooling_pairs import find_pairs
from segnet_deploy.runtimes.ncnn import integers
from segnet_deploy.runtimes.ncnn.integers import is_integer, to_integers
from segnet_deploy.runtimes.ncnn.layers import SAME, Layer, refusal, to_layer
from segnet_deploy.types import Array

_ARITHMETIC = {"Sub": np.subtract, "Div": np.divide, "Mul": np.multiply, "Add": np.add}


@dataclass(frozen=True)
class Step:
    """A host step from blobs to blobs: pool, unpool, carry, labels, cast or output."""

    kind: str
    sources: tuple[str, ...]
    results: tuple[str, ...]
    ceil_mode: bool = False
    dtype: Any = None


@dataclass
class Net:
    """One ncnn net: its .param lines and its .bin. `keeps_ties`: its result is pooled."""

    keeps_ties: bool
    lines: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)

    @property
    def param(self) -> str:
        """The structure in ncnn's text format."""
        return "\n".join(["7767517", f"{len(self.lines)} {len(self.blobs)}", *self.lines, ""])


@dataclass
class Program:
    """The nets, and the host's part: `order` and `front` before the nets, `steps` between."""

    image: str = ""
    order: tuple[int, ...] | None = None  # frames: the channel of each plane
    front: list[tuple[Any, Array]] = field(default_factory=list)
    nets: list[Net] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)  # graph output -> blob
    indices: dict[str, str] = field(default_factory=dict)  # graph output -> codes


def to_program(model: ir.Model) -> Program:
    """Translate `model` (float32 or int8, standard or plugin form); it is rewritten in place.

    Raises UnsupportedModelError, naming the node that is not supported.
    """
    to_symmetric_int8(model)
    fuse_lrn(model)
    indices = _remove_indices(model.graph)
    to_plugin_ops(model)
    to_integers(model)
    return _Translation(model.graph, indices).run()


def _remove_indices(graph: ir.Graph) -> dict[str, int]:
    """Remove pool indices from the graph's outputs; return the stage of each."""
    found = [v for v in graph.outputs if (p := v.producer()) is not None and v is not p.outputs[0]]
    kept = [v for v in graph.outputs if not any(v is index for index in found)]
    graph.outputs.clear()
    graph.outputs.extend(kept)
    stages = {id(pair.pool.outputs[1]): stage for stage, pair in enumerate(find_pairs(graph))}
    for value in found:
        if id(value) not in stages:
            raise UnsupportedModelError(f"output '{value.name}' is not the indices of a pool")
    return {str(value.name): stages[id(value)] for value in found}


class _Translation:
    """Names blobs, and gives each consumer of a value a separate blob."""

    def __init__(self, graph: ir.Graph, indices: dict[str, int]):
        self._graph, self._indices = graph, indices
        self._copies: dict[int, Iterator[str]] = {}
        self._alias: dict[int, ir.Value] = {}
        self._host: dict[int, str] = {}
        self._count = 0

    def run(self) -> Program:
        image, skip = self._read_front()
        pooled = [node.inputs[0] for node in self._graph if _is(node, contract.POOL)]
        left = len(pooled)
        self._program.nets.append(Net(keeps_ties=not all(map(is_integer, pooled))))
        self._program.image = self._enter(image)
        pools: list[str] = []
        for node in self._graph:
            if id(node) in skip:
                continue
            if node.op_type in SAME:
                self._alias[id(node.outputs[0])] = self._real(node.inputs[0])
            elif _is(node, contract.POOL):
                left -= 1
                pools.append(self._pool(node, left == 0))
            elif _is(node, contract.UNPOOL):
                self._unpool(node)
            elif node.op_type in ("ArgMax", "Cast") and not node.domain:
                self._labels(node)
            else:
                self._layer(node, skip)
        for value in self._graph.outputs:
            name = self._consume(value)
            self._program.outputs[str(value.name)] = name
            self._program.steps.append(Step("output", (name,), ()))
        self._program.indices = {name: pools[stage] for name, stage in self._indices.items()}
        return self._program

    def _read_front(self) -> tuple[ir.Value, set[int]]:
        """Read the normalisation before the first layer; return its result and its nodes."""
        value = self._graph.inputs[0]
        self._program = Program()
        if value.dtype not in (ir.DataType.FLOAT, ir.DataType.UINT8):
            raise UnsupportedModelError(
                f"input '{value.name}' is {value.dtype}; expected float32 or uint8"
            )
        skip: set[int] = set()
        framed = value.dtype == ir.DataType.UINT8
        while len(uses := _uses(value)) == 1:
            node = uses[0].node
            if not self._add_front(node, value, framed):
                break
            skip.add(id(node))
            value = node.outputs[0]
        if framed and self._program.order is None:
            raise UnsupportedModelError(
                f"input '{value.name}' is uint8, but not a frame (N, H, W, 3)"
            )
        return value, skip

    def _add_front(self, node: ir.Node, value: ir.Value, framed: bool) -> bool:
        program = self._program
        operand = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if framed and node.op_type == "Transpose" and program.order is None:
            perm = tuple(node.attributes["perm"].as_ints())
            program.order = (0, 1, 2) if perm == (0, 3, 1, 2) else None
            return program.order is not None
        if framed and node.op_type == "Gather" and program.order and operand is not None:
            program.order = tuple(int(i) for i in operand)
            return int_attribute(node, "axis", 0) == 1
        if framed and node.op_type == "Cast":
            return int_attribute(node, "to", 0) == int(ir.DataType.FLOAT)
        if node.op_type in _ARITHMETIC and node.inputs[0] is value and operand is not None:
            if operand.dtype != np.float32 or operand.size not in (1, 3):
                return False
            program.front.append((_ARITHMETIC[node.op_type], operand.reshape(-1, 1, 1)))
            return True
        return False

    def _layer(self, node: ir.Node, skip: set[int]) -> None:
        rule = integers.RULES.get((node.domain, node.op_type), to_layer)
        layer, result = rule(node), node.outputs[0]
        if any(output.uses() for output in node.outputs[1:]):
            raise refusal(node, "it has more than one output")
        uses = _uses(result)
        after = uses[0].node if len(uses) == 1 and not result.is_graph_output() else None
        if after is not None and after.op_type == "Relu" and layer.fuse_relu():
            skip.add(id(after))
            result = after.outputs[0]
        sources = [self._blob(v) for v in node.inputs if v is not None and constant(v) is None]
        self._program.nets[-1].weights += layer.weights
        self._emit(layer, sources, result)

    def _pool(self, node: ir.Node, last: bool) -> str:
        source, (values, codes) = self._consume(node.inputs[0]), node.outputs
        if last:
            self._program.nets.append(Net(keeps_ties=False))
        self._host[id(codes)] = name = self._name("codes")
        result = self._enter(values)
        ceil_mode = bool(int_attribute(node, "ceil_mode", 0))
        self._program.steps.append(Step("pool", (source,), (result, name), ceil_mode))
        return name

    def _unpool(self, node: ir.Node) -> None:
        source, codes = self._consume(node.inputs[0]), node.inputs[1]
        if codes is None or id(codes) not in self._host:
            raise refusal(node, "its codes do not come from a pool")
        result = self._enter(node.outputs[0])
        ceil_mode = bool(int_attribute(node, "ceil_mode", 1))
        step = Step("unpool", (source, self._host[id(codes)]), (result,), ceil_mode)
        self._program.steps.append(step)

    def _labels(self, node: ir.Node) -> None:
        value = node.outputs[0]
        if node.op_type == "Cast":
            known = self._host.get(id(node.inputs[0]))
            if known is None:
                raise refusal(node, "it is not between a label map and an output")
            dtype = ir.DataType(int_attribute(node, "to", 0)).numpy()
            self._host[id(value)] = name = self._name("labels")
            self._program.steps.append(Step("cast", (known,), (name,), dtype=dtype))
            return
        if int_attribute(node, "axis", 0) != 1 or int_attribute(node, "keepdims", 1):
            raise refusal(node, "expected the channel axis, without keepdims")
        if int_attribute(node, "select_last_index", 0):
            raise refusal(node, "select_last_index")
        shape = self._real(node.inputs[0]).shape
        if shape is not None and isinstance(shape[1], int) and shape[1] > LABELS:
            raise refusal(node, f"{shape[1]} channels; a label map has at most {LABELS}")
        self._host[id(value)] = name = self._name("labels")
        self._program.steps.append(Step("labels", (self._consume(node.inputs[0]),), (name,)))

    def _real(self, value: ir.Value | None) -> ir.Value:
        assert value is not None
        return self._alias.get(id(value), value)

    def _consume(self, value: ir.Value | None) -> str:
        """Return the blob for the next consumer of `value`."""
        value = self._real(value)
        if id(value) in self._host:
            return self._host[id(value)]
        try:
            return next(self._copies[id(value)])
        except (KeyError, StopIteration):
            raise UnsupportedModelError(f"'{value.name}' is not the output of a layer") from None

    def _blob(self, value: ir.Value) -> str:
        """Return the blob for the next consumer, carried over if another net computed it."""
        name, net = self._consume(value), self._program.nets[-1]
        if name in net.blobs:
            return name
        if all(name not in other.blobs for other in self._program.nets):
            raise UnsupportedModelError(f"'{value.name}' is computed between two nets")
        carried = self._line("Input", [], [self._name("b")], "")[0]
        self._program.steps.append(Step("carry", (name,), (carried,)))
        return carried

    def _consumers(self, value: ir.Value) -> int:
        count = int(value.is_graph_output())
        for use in _uses(value):
            same = use.node.op_type in SAME
            count += self._consumers(use.node.outputs[0]) if same else 1
        return count

    def _enter(self, value: ir.Value) -> str:
        """Make `value` an input of the net; return the blob that the host writes."""
        return self._emit(Layer("Input"), [], value)

    def _emit(self, layer: Layer, sources: list[str], value: ir.Value) -> str:
        name = self._line(layer.kind, sources, [self._name("b")], str(layer))[0]
        count = self._consumers(value)
        copies = [name]
        if count > 1:
            names = [f"{name}_{number}" for number in range(count)]
            copies = self._line("Split", [name], names, "")
        self._copies[id(value)] = iter(copies)
        return name

    def _line(self, kind: str, sources: list[str], results: list[str], rest: str) -> list[str]:
        fields = [kind, results[0], len(sources), len(results), *sources, *results, rest]
        net = self._program.nets[-1]
        net.lines.append(" ".join(map(str, fields)).rstrip())
        net.blobs += results
        return results

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"


def _is(node: ir.Node, op_type: str) -> bool:
    return (node.domain, node.op_type) == (contract.DOMAIN, op_type)


def _uses(value: ir.Value) -> list[Any]:
    """Return the uses of `value`, except unpoolings that only read its size."""
    return [use for use in value.uses() if not (_is(use.node, contract.UNPOOL) and use.idx == 2)]
