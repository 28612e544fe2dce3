"""Build the ONNX model of a net and its weights, in the standard form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from segnet_deploy.caffe.caffemodel import Weights
from segnet_deploy.caffe.layers.context import Blob, Context, check_size
from segnet_deploy.caffe.layers.table import LAYERS
from segnet_deploy.caffe.net import Layer, Net
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.passes.fold_batch_norm import fold_batch_norm
from segnet_deploy.passes.graph import Builder, infer_shapes, remove_dead, replace
from segnet_deploy.types import DEFAULT_SIZE, Size

OPSET = 18
_AROUND = ("Pad", "Slice", "Cast", "Flatten")  # operators around the one that stands for a layer


@dataclass(frozen=True)
class CaffeModel:
    """An ONNX model of a net.

    `dropouts` names the layers that were dropped, or kept as Dropout nodes of these names;
    `parameters` counts the values of the weights that the net uses. `statistics` names the mean
    and the variance of each BN layer among the model's outputs, if they were requested.
    """

    model: ir.Model
    dropouts: tuple[str, ...]
    parameters: int
    statistics: dict[str, tuple[str, str]]
    notes: tuple[str, ...]


def build_model(
    net: Net,
    weights: Weights,
    *,
    size: Size | None = None,
    batch: int = 1,
    keep_dropout: bool = False,
    bn_statistics: bool = False,
) -> CaffeModel:
    """Return the model of `net` with `weights`: (N, C, H, W) float32 in, logits or softmax out.

    An ArgMax at the end is left out: labels are the argmax of the model's output. `size` replaces
    the (height, width) of the prototxt, and the sizes of unpooling follow it; where neither states
    a size, it is 360x480. `keep_dropout` leaves Dropout nodes in the graph, each with its layer's
    name. `bn_statistics`: BN layers normalise each batch by itself, as in training, and their
    means and variances are outputs too.

    Raises InputError if weights and net do not fit together, UnsupportedModelError for a layer that
    cannot be exported exactly.
    """
    _check_layers(net)
    if size is not None and net.shape[2:] not in (size, (None, None)):
        _Graph(net, weights, None, batch, bn_statistics).build()  # the prototxt's own sizes agree
    built = _Graph(net, weights, size, batch, bn_statistics).build()
    model = built.model(keep_dropout)
    dropouts = tuple(layer.name for layer in net.layers if layer.type == "Dropout")
    names = {layer.name for layer in net.layers}
    used = [blob for name in names for blob in weights.get(name, ())]
    notes = [*net.notes, *built.notes]
    if unused := sorted(set(weights) - names):
        notes.append(
            f"{len(unused)} layers of the caffemodel are not in the net: {', '.join(unused[:5])}"
        )
    statistics = {
        name: (str(mean.name), str(variance.name))
        for name, (mean, variance) in (built.statistics or {}).items()
    }
    return CaffeModel(model, dropouts, sum(blob.size for blob in used), statistics, tuple(notes))


def _check_layers(net: Net) -> None:
    """Raise UnsupportedModelError for the layers of unknown types, all at once."""
    unknown = [layer for layer in net.layers if layer.type not in LAYERS]
    if unknown:
        raise UnsupportedModelError(
            f"{', '.join(map(str, unknown[:5]))}{' and more' * (len(unknown) > 5)} cannot be "
            f"exported; supported types: {', '.join(sorted(LAYERS))}"
        )


class _Graph:
    """The graph of a net while it is built. Layers find blobs by name, and may overwrite them."""

    def __init__(
        self, net: Net, weights: Weights, size: Size | None, batch: int, bn_statistics: bool
    ):
        self.net, self.weights = net, weights
        self.resized = size is not None and net.shape[2:] != size
        height, width = size or (net.shape[2] or DEFAULT_SIZE[0], net.shape[3] or DEFAULT_SIZE[1])
        shape = (batch, net.shape[1] or 3, height, width)
        check_size(shape, f"input '{net.image}'")
        image = ir.Value(
            name=net.image, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape)
        )
        self.graph = ir.Graph([image], [], nodes=[], opset_imports={"": OPSET}, name="caffe")
        self.blobs = {net.image: Blob(image, shape)}
        self.unread = {net.image}
        self.statistics: dict[str, tuple[ir.Value, ir.Value]] | None = {} if bn_statistics else None
        self.notes: list[str] = []
        self.node_names: set[str] = set()

    def build(self) -> _Graph:
        """Add every layer. Raises InputError or UnsupportedModelError."""
        for layer in self.net.layers:
            self._add(layer)
        return self

    def _add(self, layer: Layer) -> None:
        context = Context(
            layer,
            [self.blobs[name] for name in layer.bottoms],
            self.weights.get(layer.name, ()),
            Builder(self.graph),
            self.resized,
            self.statistics,
        )
        before = len(self.graph)
        results = LAYERS[layer.type](context)
        if len(results) < len(layer.tops):
            raise InputError(f"{layer} has {len(layer.tops)} tops; it computes {len(results)}")
        self._name_nodes(layer, list(self.graph)[before:])
        self.unread -= set(layer.bottoms)
        for top, blob in zip(layer.tops, results, strict=False):
            blob.value.type = blob.value.type or ir.TensorType(
                ir.DataType.FLOAT if blob.plane is None else ir.DataType.INT64
            )
            blob.value.shape = blob.value.shape or ir.Shape(blob.shape)
            self.blobs[top] = blob
            self.unread.discard(top)
            if blob.plane is None:
                self.unread.add(top)

    def _name_nodes(self, layer: Layer, nodes: Sequence[ir.Node]) -> None:
        """Name the nodes of one layer; the operator that stands for the layer has its name.

        Caffe lets layers share a name: underscores are added to all but the first.
        """
        main = max(nodes, key=lambda node: node.op_type not in _AROUND, default=None)
        for number, node in enumerate(nodes):
            name = layer.name if node is main else f"{layer.name}.{node.op_type}{number}"
            while name in self.node_names:
                name += "_"
            self.node_names.add(name)
            node.name = name

    def model(self, keep_dropout: bool) -> ir.Model:
        """Return the finished model, with batch normalisation folded into convolutions."""
        outputs = [name for name in self.blobs if name in self.unread and name != self.net.image]
        if not outputs:
            raise UnsupportedModelError("no layer of the prototxt has a result that no other reads")
        for name in outputs:
            self._add_output(name)
        if len(self.graph.outputs) > 1:
            names = ", ".join(str(value.name) for value in self.graph.outputs)
            self.notes.append(f"the net has several results ({names}); labels are of the first")
        for node in list(self.graph):
            if node.op_type == "Dropout" and not keep_dropout:
                replace(node.outputs[0], _first_input(node))
                self.graph.remove(node, safe=True)
        for layer, mean_and_variance in (self.statistics or {}).items():
            for value, what in zip(mean_and_variance, ("mean", "variance"), strict=True):
                value.name = f"{layer}.{what}"
                self.graph.outputs.append(value)
        model = ir.Model(self.graph, ir_version=8, producer_name="segnet-deploy")
        if self.statistics is None:
            fold_batch_norm(model)
        return infer_shapes(remove_dead(model))

    def _add_output(self, name: str) -> None:
        """Make the blob `name` an output of the graph; of an ArgMax, the scores that it reads."""
        last = next(layer for layer in reversed(self.net.layers) if name in layer.tops)
        blob = self.blobs[name]
        if last.type == "ArgMax" and blob.shape[1:2] == (1,):
            cast = blob.value.producer()
            argmax = None if cast is None else _first_input(cast).producer()
            assert argmax is not None
            value, name = _first_input(argmax), last.bottoms[0]
            self.notes.append(f"{last} is left out: the file gives '{name}', labels are its argmax")
        else:
            value = blob.value
        if not value.is_graph_output():
            value.name = name
            self.graph.outputs.append(value)


def _first_input(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value
