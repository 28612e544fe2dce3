"""The end of a network that samples its dropout: mean probabilities and their uncertainty."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes.graph import Builder
from segnet_deploy.passes.sampling_names import MAPS, PROBABILITIES, SAMPLES

_SMALLEST = float(np.finfo(np.float32).tiny)  # so that 0 * log(0) is 0


def add_statistics(graph: ir.Graph, varying: Collection[str]) -> None:
    """Replace the logits, the first output of `graph`, by statistics of their samples.

    The logits are (S, K, H, W) float32. The first output becomes `probabilities`, (1, K, H, W), the
    mean softmax; then follow maps, (1, H, W): `uncertainty`, the variance of the probabilities over
    the samples, averaged over the classes; `entropy` of the mean, in nats; `mutual_information`,
    the entropy minus the mean entropy of a sample; `confidence`, the largest mean probability.
    Of the other outputs those called `varying`, which depend on the masks, become their means.
    """
    build = Builder(graph)
    logits, others = graph.outputs[0], list(graph.outputs[1:])
    producer = logits.producer()
    if producer is not None and producer.op_type == "Softmax" and producer.inputs[0] is not None:
        logits = producer.inputs[0]  # its exponentials are taken below
    log_p = _named(build.op("LogSoftmax", logits, axis=1), SAMPLES)
    p = build.op("Exp", log_p)
    mean = _reduce(build, "ReduceMean", p, [0])
    deviation = build.op("Sub", p, mean)
    variance = _reduce(build, "ReduceMean", build.op("Mul", deviation, deviation), [0, 1])
    log_mean = build.op("Log", build.op("Max", mean, build.const(_SMALLEST, np.float32)))
    entropy = build.op("Neg", _reduce(build, "ReduceSum", build.op("Mul", mean, log_mean), [1]))
    of_samples = _reduce(build, "ReduceSum", build.op("Mul", p, log_p), [1])
    within = build.op("Neg", _reduce(build, "ReduceMean", of_samples, [0]))
    difference = build.op("Sub", entropy, within)
    information = build.op("Max", difference, build.const(0, np.float32))  # not below 0 by rounding
    confidence = _reduce(build, "ReduceMax", mean, [1])
    graph.outputs[:] = [_named(mean, PROBABILITIES)]
    for name, value in zip(MAPS, (variance, entropy, information, confidence), strict=True):
        graph.outputs.append(_named(build.op("Squeeze", value, build.const([1])), name))
    for value in others:
        graph.outputs.append(_mean_output(build, value) if value.name in varying else value)


def _reduce(build: Builder, op_type: str, value: ir.Value, axes: list[int]) -> ir.Value:
    return build.op(op_type, value, build.const(axes), keepdims=1)


def _mean_output(build: Builder, value: ir.Value) -> ir.Value:
    name, value.name = str(value.name), f"{value.name}_samples"
    return _named(_reduce(build, "ReduceMean", value, [0]), name)


def _named(value: ir.Value, name: str) -> ir.Value:
    value.name, value.type = name, ir.TensorType(ir.DataType.FLOAT)
    return value
