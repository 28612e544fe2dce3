"""LogSoftmax, which ncnn does not have, as x - max - log(sum(exp(x - max))) over channels.

The logarithm of ncnn's Softmax would be -inf where a probability is too small for a float.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from segnet_deploy.passes.graph import Builder, replace
from segnet_deploy.runtimes.ncnn.layers import Layer, axis_of, require_opset, unsupported

DOMAIN = "segnet_deploy.ncnn"
_MAX, _LOG_SUM_EXP, _SUBTRACT = 4, 10, 1  # ncnn's numbers of operations


def split_log_softmax(model: ir.Model) -> None:
    """Rewrite every LogSoftmax of `model` in place. Raises UnsupportedModelError."""
    graph = model.graph
    for node in [n for n in graph if n.op_type == "LogSoftmax" and not n.domain]:
        require_opset(node, 13)
        if axis_of(node, -1) != 1:
            raise unsupported(node, "only over channels is supported")
        build, x = Builder(graph, node), node.inputs[0]
        below = build.op("Subtract", x, build.op("Max", x, domain=DOMAIN), domain=DOMAIN)
        total = build.op("LogSumExp", below, domain=DOMAIN)
        replace(node.outputs[0], build.op("Subtract", below, total, domain=DOMAIN))
        graph.remove(node, safe=True)


def _reduction(operation: int) -> Callable[[ir.Node], Layer]:
    """Return the rule of a reduction over channels that keeps the axis."""
    return lambda node: Layer("Reduction", {0: operation, 1: 0, 3: (0,), 4: 1, 5: 1})


RULES: dict[tuple[str, str], Callable[[ir.Node], Layer]] = {
    (DOMAIN, "Max"): _reduction(_MAX),
    (DOMAIN, "LogSumExp"): _reduction(_LOG_SUM_EXP),
    (DOMAIN, "Subtract"): lambda node: Layer("BinaryOp", {0: _SUBTRACT}),
}
