"""Declare an older opset, where every operator of the model is the same in it."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult


def to_opset(model: ir.Model, opset: int) -> PassResult:
    """Let `model` declare `opset` if it declares a newer one.

    Raises UnsupportedModelError if an operator's definition is newer than `opset`.
    """
    declared = model.opset_imports.get("", opset)
    if declared <= opset:
        return PassResult(model, 0)
    for node in model.graph:
        if node.domain:
            continue
        since = onnx.defs.get_schema(node.op_type, declared, "").since_version
        if since > opset:
            raise UnsupportedModelError(
                f"{node.op_type} {node.name!r} is defined by opset {since}, and the tool of the "
                f"device reads opset {opset} at most; export a network that does not use it"
            )
    model.opset_imports[""] = opset
    return PassResult(model, 1)
