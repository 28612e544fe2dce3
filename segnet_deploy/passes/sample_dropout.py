"""Monte Carlo dropout: turn a network with Dropout nodes into one that samples them.

Every dropout multiplies by a mask that is an input of the graph, (S, C, H, W) uint8 of 0 and 1 for
S samples: random operators differ between runtimes and ignore seeds, inputs do not. What stands
before the first dropout is computed once; the rest runs on a batch of S samples. At the end the
graph computes the mean probabilities of the samples and how much they differ.

Source: Kendall, Badrinarayanan, Cipolla: Bayesian SegNet (arXiv 1511.02680), section 3.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes import PassResult
from segnet_deploy.passes import graph as edit
from segnet_deploy.passes.graph import Builder, constant, infer_shapes, int_attribute
from segnet_deploy.passes.sample_statistics import add_statistics
from segnet_deploy.passes.sampling_names import MAPS, MASK_PREFIX, MAX_SAMPLES, PROBABILITIES

DROPOUT_DOMAIN = "segnet.dropout"  # marks dropouts of a network that was traced for inference
NO_DROPOUT = (
    "the network has no dropout to sample; --dropout bayesian places it as in Bayesian SegNet, "
    "which must have been trained with it"
)
_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Where", "PRelu", "Pow")
_SHAPED = {"MaxUnpool": 2, "Reshape": 1, "Expand": 1}  # the input that holds a shape with the batch


def sample_dropout(model: ir.Model, samples: int) -> PassResult:
    """Rewrite `model` in place, and record the samples in its metadata; return the PassResult.

    `model` maps one image, (1, C, H, W) of static size, to logits, (1, K, H, W), as its first
    output. Other outputs become their mean over the samples. Raises InputError for a number of
    samples outside 1 to MAX_SAMPLES, UnsupportedModelError if the model has no dropout, a batch,
    dynamic sizes, or a node that mixes the samples.
    """
    check_samples(samples)
    model = _with_shapes(model)
    graph = model.graph
    dropouts = [node for node in graph if is_dropout(node)]
    _check_model(model, dropouts)
    ratios = tuple(_ratio(node) for node in dropouts)
    sampled = _sampled_nodes(graph, dropouts)
    for node in sampled:
        if not is_dropout(node):
            _check_batch(node)
    for node in sampled:
        if not is_dropout(node):
            _join(graph, node, sampled, samples)
    reached = {id(value) for node in sampled for value in node.outputs}
    varying = {str(value.name) for value in graph.outputs if id(value) in reached}
    for number, node in enumerate(dropouts):
        _add_mask(graph, node, ratios[number], f"{MASK_PREFIX}{number}", samples)
    add_statistics(graph, varying)
    model.opset_imports.pop(DROPOUT_DOMAIN, None)
    notes = tuple(f"sampled '{node.name}'" for node in dropouts)
    recorded = Metadata.from_props(dict(model.metadata_props))
    model.metadata_props.update(replace(recorded, samples=samples, dropout=ratios).to_props())
    return PassResult(infer_shapes(edit.remove_dead(model)), len(dropouts), notes)


def _with_shapes(model: ir.Model) -> ir.Model:
    """Infer shapes, also past unpoolings, whose output shape onnx does not infer."""
    model = infer_shapes(model)
    for node in model.graph:
        shape = (
            constant(node.inputs[2]) if node.op_type == "MaxUnpool" and node.inputs[2:] else None
        )
        if shape is not None and node.outputs[0].shape is None:
            node.outputs[0].shape = ir.Shape(shape.tolist())
    return infer_shapes(model)


def check_samples(samples: int) -> None:
    """Raise InputError unless 1 <= `samples` <= MAX_SAMPLES."""
    if not 1 <= samples <= MAX_SAMPLES:
        raise InputError(
            f"{samples} samples of the dropout; expected 1 to {MAX_SAMPLES}, such as 8"
        )


def is_dropout(node: ir.Node) -> bool:
    """Return whether `node` is a dropout that drops something."""
    known = node.op_type == "Dropout" and node.domain in ("", DROPOUT_DOMAIN)
    return known and _ratio(node) > 0


def _ratio(node: ir.Node) -> float:
    """Return the share of elements that a dropout drops: an attribute, or an input (opset 12)."""
    if (attribute := node.attributes.get("ratio")) is not None:
        return float(attribute.as_float())
    value = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return 0.5 if value is None else float(value)


def _check_model(model: ir.Model, dropouts: list[ir.Node]) -> None:
    shape = model.graph.inputs[0].shape
    if not dropouts:
        raise UnsupportedModelError(NO_DROPOUT)
    if shape is None or not shape.is_static() or shape[0] != 1:
        raise UnsupportedModelError(
            f"sampling dropout needs one image of static size; the input is {shape}: export with "
            "--batch 1 and without --dynamic"
        )
    if edit.opset(model) < 18:
        raise UnsupportedModelError(
            f"sampling dropout needs opset 18 or newer; the model has {edit.opset(model)}"
        )
    for output in model.graph.outputs[1:]:
        if output.name in (PROBABILITIES, *MAPS):
            raise UnsupportedModelError(
                f"the network has an output '{output.name}', which is also one of the samples: "
                "choose its outputs with --outputs"
            )
    for node in dropouts:
        if not _ratio(node) < 1:
            raise UnsupportedModelError(f"Dropout '{node.name}' drops everything")
        if len(node.outputs) > 1 and node.outputs[1].uses():
            raise UnsupportedModelError(f"Dropout '{node.name}': its mask is used elsewhere")
        value = node.inputs[0]
        if value is None or value.shape is None or not value.shape.is_static():
            raise UnsupportedModelError(f"Dropout '{node.name}': its input has no static shape")


def _sampled_nodes(graph: ir.Graph, dropouts: list[ir.Node]) -> list[ir.Node]:
    """Return the dropouts and all nodes downstream of them, in graph order."""
    first = {id(node) for node in dropouts}
    reached: set[int] = set()
    found = []
    for node in graph:
        if id(node) in first or any(id(value) in reached for value in node.inputs):
            found.append(node)
            reached |= {id(value) for value in node.outputs}
    return found


def _check_batch(node: ir.Node) -> None:
    """Raise UnsupportedModelError unless the first axis of every output is the batch."""
    for value in node.outputs:
        shape = value.shape
        if (value.uses() or value.is_graph_output()) and (
            shape is None or len(shape) < 2 or shape[0] != 1
        ):
            raise UnsupportedModelError(
                f"{node.op_type} '{node.name}' after a dropout returns {shape}; sampling needs "
                "(1, ...), so that its first axis can hold the samples"
            )


def _join(graph: ir.Graph, node: ir.Node, sampled: list[ir.Node], samples: int) -> None:
    """Let `node` work on all samples: repeat what is computed once, and adapt constant shapes."""
    build = Builder(graph, node)
    values = {id(value) for other in sampled for value in other.outputs}
    for index, value in enumerate(node.inputs):
        if value is None or id(value) in values:
            continue
        array = constant(value)
        if array is not None:
            if _SHAPED.get(node.op_type) == index and array.size and array.flat[0] == 1:
                node.replace_input_with(index, build.const([samples, *array.tolist()[1:]]))
        elif node.op_type == "MaxUnpool" and index == 1:
            node.replace_input_with(1, _repeated_indices(build, node, value, samples))
        elif node.op_type not in _BROADCASTING and value.shape is not None and len(value.shape) > 1:
            shape = build.const([samples, *([1] * (len(value.shape) - 1))])
            node.replace_input_with(index, build.op("Expand", value, shape))
    for value in node.outputs:
        if value.shape is not None:
            value.shape = ir.Shape([samples, *value.shape[1:]])


def _repeated_indices(build: Builder, unpool: ir.Node, index: ir.Value, samples: int) -> ir.Value:
    """Return the flat indices of one image, (1, C, h, w), for `samples` copies of it.

    Copy number s starts s * C * H * W elements later, C, H and W being the shape of the planes.
    """
    shape = unpool.outputs[0].shape
    assert shape is not None
    plane = math.prod(shape.numpy()[1:])
    offsets = build.const((np.arange(samples) * plane).reshape(-1, 1, 1, 1))
    repeated = build.op("Add", index, offsets)
    repeated.type = ir.TensorType(ir.DataType.INT64)
    if index.shape is not None:
        repeated.shape = ir.Shape([samples, *index.shape[1:]])
    return repeated


def _add_mask(graph: ir.Graph, node: ir.Node, ratio: float, name: str, samples: int) -> None:
    """Replace a dropout by a product with its mask, which becomes an input of the graph."""
    x, out = node.inputs[0], node.outputs[0]
    assert x is not None
    assert x.shape is not None
    shape = [samples, *x.shape[1:]]
    if int_attribute(node, "channels", 0):
        shape[2:] = [1] * (len(shape) - 2)
    mask = ir.Value(name=name, type=ir.TensorType(ir.DataType.UINT8), shape=ir.Shape(shape))
    graph.inputs.append(mask)
    build = Builder(graph, node)
    kept = build.op("Cast", mask, to=int(ir.DataType.FLOAT))
    scaled = build.op("Mul", x, build.const(1 / (1 - ratio), np.float32))
    result = build.op("Mul", scaled, kept)
    kept.type = scaled.type = result.type = ir.TensorType(ir.DataType.FLOAT)
    kept.shape, scaled.shape = mask.shape, x.shape
    result.shape = ir.Shape([samples, *x.shape[1:]])
    out.shape = result.shape
    edit.replace(out, result)
    graph.remove(node, safe=True)
