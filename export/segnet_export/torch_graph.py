"""PyTorch module -> ONNX graph by torch's own exporter, with the unpooling restored."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import onnx_ir as ir
import torch
from torch import Tensor, nn

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.optional import require
from segnet_deploy.passes.fuse_lrn import fuse_lrn
from segnet_deploy.passes.graph import ints_attribute
from segnet_deploy.passes.restore_unpooling import restore_unpooling
from segnet_deploy.passes.unpooling_pairs import has_used_indices
from segnet_export.dropout_calls import mark_dropouts
from segnet_export.export_options import OLDEST_OPSET
from segnet_export.module_outputs import IMAGE, LOGITS
from segnet_export.transposed_convolutions import CroppedTransposedConvolutions


def to_onnx(
    module: nn.Module,
    example: Tensor,
    opset: int = OLDEST_OPSET,
    dynamic: str | None = None,
    outputs: Sequence[str] = (LOGITS,),
    dropout: bool = False,
) -> tuple[ir.Model, int]:
    """Export with torch and restore the unpooling; return the model and its number of pairs.

    A pool whose indices serve several unpoolings counts as one pair.
    `example` is (N, C, H, W) float32; `dynamic` is None, 'batch' or 'size'; `outputs` are the names
    of what `module` returns. `dropout` keeps dropouts as nodes for sample_dropout. Batch
    normalisation is folded. Raises UnsupportedModelError.
    """
    require("onnxscript", extra="export")
    auto = torch.export.Dim.DYNAMIC
    axes = {None: {}, "batch": {0: auto}, "size": {0: auto, 2: auto, 3: auto}}[dynamic]
    if axes and example.shape[0] < 2:
        example = example.repeat(2, 1, 1, 1)  # torch.export treats 0 and 1 as constants
    try:
        changes = mark_dropouts() if dropout else nullcontext()
        with _silenced(), torch.no_grad(), changes, CroppedTransposedConvolutions():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=opset,
                input_names=[IMAGE],
                output_names=list(outputs),
                dynamic_shapes=(axes,) if axes else None,
                verbose=False,
            )
    except Exception as error:  # the exporter wraps every error in its own types
        reason = _root_cause(error)
        raise UnsupportedModelError(f"torch cannot export this module: {reason}") from error
    assert program is not None
    for node in program.model.graph.all_nodes():  # source lines and paths of this machine
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    _free_names(program.model.graph, outputs)
    result = restore_unpooling(program.model)
    model = fuse_lrn(result.model).model
    return model, sum(map(has_used_indices, model.graph))


def total_stride(graph: ir.Graph) -> int:
    """Return by how much `graph` divides the size of the image at its smallest value."""
    strides: dict[int, float] = {}
    for node in graph:
        stride = max([strides.get(id(value), 1) for value in node.inputs], default=1)
        own = max(ints_attribute(node, "strides", (1,)))
        grows = node.op_type in ("ConvTranspose", "MaxUnpool")
        stride = stride / own if grows else stride * own
        strides |= {id(value): stride for value in node.outputs}
    return int(max(strides.values(), default=1))


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Switch `module` to evaluation, and afterwards each of its modules back to its own mode."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        yield
    finally:
        for item in training:
            item.training = True


def _free_names(graph: ir.Graph, names: Sequence[str]) -> None:
    """Rename values inside the graph that have the name of an output, such as `relu`."""
    for node in graph:
        for value in node.outputs:
            if value.name in names and not value.is_graph_output():
                value.name = f"{value.name}_inside"


def _root_cause(error: BaseException) -> str:
    """Return the type and first line of the exception that started a chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Suppress the exporter's progress output and its notes about other packages."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
