"""Cast a uint8 frame directly at the input: TensorRT reads uint8 only to cast it.

segnet-export --io frame transposes first and casts then, which moves fewer bytes on a CPU.
"""

from __future__ import annotations

import onnx_ir as ir

from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import Builder, remove_dead

_MOVING = ("Transpose", "Gather")  # what is between the input and its cast


def cast_frame_first(model: ir.Model) -> PassResult:
    """Move the cast of each uint8 input of `model`, in place, before the nodes that move pixels.

    Return the PassResult. Inputs that other nodes read stay as they are.
    """
    changed = [value for value in model.graph.inputs if _cast_first(model.graph, value)]
    return PassResult(remove_dead(model) if changed else model, len(changed))


def _cast_first(graph: ir.Graph, frame: ir.Value) -> bool:
    if frame.dtype != ir.DataType.UINT8:
        return False
    moved, value = [], frame
    while (node := _only_reader(value)) is not None and node.op_type in _MOVING:
        if node.inputs[0] is not value:
            return False
        moved.append(node)
        value = node.outputs[0]
    if node is None or node.op_type != "Cast" or not moved:
        return False
    to = ir.DataType(node.attributes["to"].as_int())
    cast = Builder(graph, moved[0]).op("Cast", frame, to=int(to))
    cast.type, cast.shape = ir.TensorType(to), frame.shape
    moved[0].replace_input_with(0, cast)
    for mover in moved:
        mover.outputs[0].type = ir.TensorType(to)
    ir.convenience.replace_all_uses_with(node.outputs[0], value)
    return True


def _only_reader(value: ir.Value) -> ir.Node | None:
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None
