"""Run a graph in ONNX Runtime, frame by frame, and read values inside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import onnx_ir as ir

from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.optional import require
from segnet_deploy.passes.graph import opset
from segnet_deploy.types import Array

_SEVERITY_FATAL = 4


def observe(
    model: ir.Model,
    names: Sequence[str],
    inputs: Sequence[Array],
    title: str | None = None,
    means: Sequence[str] = (),
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Yield the values called `names` and the channel means of `means`, for each input.

    Q/DQ are computed in float exactly as ONNX defines them, never in a runtime's int8 kernels.
    With a `title` a progress bar counts the inputs.
    """
    session = _session(_with_outputs(model, names, means))
    feed = session.get_inputs()[0].name
    bar = require("tqdm").tqdm(
        inputs, desc=title, unit="frame", leave=False, file=sys.stderr, disable=title is None
    )
    for x in bar:
        try:
            found = session.run(None, {feed: x})
        except Exception as error:
            raise InputError(f"the model does not run on a calibration frame: {error}") from error
        yield (
            dict(zip(names, found[: len(names)], strict=True)),
            dict(zip(means, found[len(names) :], strict=True)),
        )


def _with_outputs(model: ir.Model, names: Sequence[str], means: Sequence[str]) -> bytes:
    """Return the file with other outputs; `model` itself stays as it is."""
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


def _session(data: bytes) -> Any:
    ort = require("onnxruntime", extra="quant")
    options = ort.SessionOptions()
    options.log_severity_level = _SEVERITY_FATAL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's error types have no common base
        raise EngineError(f"onnxruntime cannot load the graph to calibrate: {error}") from error
