"""Run a graph in ONNX Runtime, input by input, and read values inside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import onnx_ir as ir

from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.metadata import Metadata
from segnet_deploy.optional import require
from segnet_deploy.passes.graph import opset
from segnet_deploy.progress import Progress, silent, track
from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.dropout_masks import DropoutMasks
from segnet_deploy.types import Array

_SEVERITY_FATAL = 4


def read_values(
    model: ir.Model,
    names: Sequence[str],
    inputs: Sequence[Array],
    means: Sequence[str] = (),
    title: str = "running",
    progress: Progress = silent,
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Yield the values called `names` and the channel means of `means`, for each input.

    A network that samples its dropout gets the masks of frame 0, 1, and so on.
    Q/DQ are computed in float exactly as ONNX defines them, never in a runtime's int8 kernels.
    Raises InputError if the model cannot run on an input, EngineError if it cannot be loaded.
    """
    session = _session(_with_outputs(model, names, means))
    feed, *ports = [_port(value) for value in model.graph.inputs]
    dropout = Metadata.from_props(dict(model.metadata_props)).dropout
    masks = DropoutMasks(ports, dropout)  # random ones, as when the network runs
    for x in track(inputs, title, progress):
        try:
            found = session.run(None, {feed.name: x} | masks.next())
        except Exception as error:
            raise InputError(f"the model cannot run on a calibration frame: {error}") from error
        yield (
            dict(zip(names, found[: len(names)], strict=True)),
            dict(zip(means, found[len(names) :], strict=True)),
        )


def _with_outputs(model: ir.Model, names: Sequence[str], means: Sequence[str]) -> bytes:
    """Return the file with other outputs; `model` itself is not changed."""
    copy = ir.from_proto(ir.to_proto(model))
    graph = copy.graph
    values = {v.name: v for node in graph for v in node.outputs}
    values |= {v.name: v for v in graph.inputs}
    graph.outputs.clear()
    for name in names:
        value = values[name]
        # An input cannot be an output under its own name.
        graph.outputs.append(
            _added(graph, "Identity", value) if value.producer() is None else value
        )
    for name in means:
        graph.outputs.append(_mean(graph, values[name], opset(copy)))
    for value in graph.outputs:
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
    data: bytes = ir.to_proto(copy).SerializeToString()
    return data


def _mean(graph: ir.Graph, value: ir.Value, version: int) -> ir.Value:
    if version < 18:
        return _added(graph, "ReduceMean", value, keepdims=0, axes=[0, 2, 3])
    axes = ir.Value(name=f"{value.name}.axes", const_value=ir.tensor([0, 2, 3]))
    graph.register_initializer(axes)
    return _added(graph, "ReduceMean", value, axes, keepdims=0)


def _added(graph: ir.Graph, op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
    node = ir.node(op_type, inputs, attributes)
    graph.append(node)
    out = node.outputs[0]
    out.name, out.type = f"{inputs[0].name}.{op_type}", inputs[0].type
    return out


def _port(value: ir.Value) -> Port:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape or ())
    return Port(str(value.name), shape, (value.dtype or ir.DataType.FLOAT).numpy())


def _session(data: bytes) -> Any:
    ort = require("onnxruntime", extra="quant")
    options = ort.SessionOptions()
    options.log_severity_level = _SEVERITY_FATAL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's error types have no common base
        raise EngineError(f"onnxruntime cannot load the graph to calibrate: {error}") from error
