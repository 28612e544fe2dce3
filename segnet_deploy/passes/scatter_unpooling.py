"""MaxUnpool by its definition: a tensor of zeros, and each value at the place that its index names.

ONNX Runtime's own MaxUnpool rejects some sizes that ONNX allows. In this form a file runs there
with the meaning of its indices, whatever computes them: the pass knows nothing of pools, windows or
pairs, so that the result can judge the passes that do.
"""

from __future__ import annotations

import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import Builder, infer_shapes, ints_attribute, replace


def scatter_unpooling(model: ir.Model) -> PassResult:
    """Rewrite every MaxUnpool of `model` in place; return the PassResult.

    Raises UnsupportedModelError for one without output_shape whose input has unknown sizes.
    """
    graph = infer_shapes(model).graph
    found = [node for node in graph if (node.domain, node.op_type) == ("", "MaxUnpool")]
    for node in found:
        _rewrite(Builder(graph, node), node)
        graph.remove(node, safe=True)
    return PassResult(model, len(found))


def _rewrite(build: Builder, node: ir.Node) -> None:
    values, index = node.inputs[:2]
    shape = node.inputs[2] if len(node.inputs) > 2 else None
    if shape is None:
        shape = build.const(_default_shape(node))
    count = build.op("ReduceProd", shape, keepdims=1)
    dtype = (values.dtype if values is not None else None) or ir.DataType.FLOAT
    zero = ir.tensor([0], dtype=dtype)
    zeros = build.op("ConstantOfShape", count, value=zero)
    flat, places = (build.op("Reshape", value, build.const([-1])) for value in (values, index))
    full = build.op("ScatterElements", zeros, places, flat, axis=0)
    replace(node.outputs[0], build.op("Reshape", full, shape))


def _default_shape(node: ir.Node) -> list[int]:
    """Return the shape that ONNX computes from the input's and the window's."""
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if shape is None or not shape.is_static():
        raise UnsupportedModelError(
            f"MaxUnpool '{node.name}' has no output_shape, and its input has unknown sizes {shape}"
        )
    kernel = ints_attribute(node, "kernel_shape", ())
    strides = ints_attribute(node, "strides", (1,) * len(kernel))
    pads = ints_attribute(node, "pads", (0,) * 2 * len(kernel))
    sizes = [
        (size - 1) * strides[axis] + kernel[axis] - pads[axis] - pads[axis + len(kernel)]
        for axis, size in enumerate(shape.numpy()[2:])
    ]
    return [*shape.numpy()[:2], *sizes]
