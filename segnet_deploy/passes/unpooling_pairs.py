"""Find pool/unpool pairs in the standard and the plugin form, and check their geometry.

A pair can be rewritten exactly if the pool is 2x2 with stride 2 and the unpooling writes planes of
the size of the pool's input. Any other pair raises an error that names its node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import contract
from segnet_deploy.passes.dynamic_sizes import is_size_of
from segnet_deploy.passes.graph import constant, int_attribute, ints_attribute, static_size
from segnet_deploy.types import Size

_SIGN_PRESERVING = (
    *("Identity", "Dropout", "MaxPool", "MaxUnpool", "Slice", "Reshape", "Transpose", "Cast"),
    *(contract.POOL, contract.UNPOOL),
)
WHOLE_INDICES = (
    "indices must go from a pool to unpoolings as they are: to unpool some channels, unpool all "
    "and slice the result; to join pools, unpool each and join the results; or run an ONNX file as "
    "it is, with --runtime onnxruntime"
)


@dataclass(frozen=True)
class Pair:
    """A pool with indices and the unpoolings that use them.

    `non_negative`: the graph proves that the pool's input has no element below 0. `repeats` are the
    nodes that repeat the indices of one image for a batch of samples (sample_dropout). `even_only`:
    the sizes are dynamic and the unpooling writes twice the pool's output, which is the pool's
    input at even sizes only; others must be an error when the model runs. `kernel` is the
    (height, width) of the windows.
    """

    pool: ir.Node
    unpools: tuple[ir.Node, ...]
    ceil_mode: bool
    non_negative: bool
    repeats: tuple[ir.Node, ...] = ()
    even_only: bool = False
    kernel: Size = (2, 2)

    @property
    def source(self) -> ir.Value:
        """The pool's input, (N, C, H, W)."""
        value = self.pool.inputs[0]
        assert value is not None
        return value


def find_pairs(graph: ir.Graph, any_window: bool = False) -> list[Pair]:
    """Return the pairs of `graph` in graph order.

    `any_window` also allows windows other than 2x2, if they lie side by side without padding.
    Raises UnsupportedModelError for a pool whose indices are used, or for an unpooling, that cannot
    be rewritten exactly.
    """
    for node in filter(is_channels_last, graph):
        raise _refusal(
            node, "it reads channels last, for ONNX Runtime; use the file that it was made from"
        )
    pairs = [_pair(node, any_window) for node in graph if has_used_indices(node)]
    known = {id(unpool) for pair in pairs for unpool in pair.unpools}
    for node in graph:
        if _is_unpool(node) and id(node) not in known:
            raise _refusal(
                node, f"its indices are not the direct output of a MaxPool; {WHOLE_INDICES}"
            )
    return pairs


def is_channels_last(node: ir.Node) -> bool:
    """Return whether `node` is an operator with channels last, as to_onnxruntime_ops writes it."""
    return node.domain == contract.DOMAIN and bool(int_attribute(node, "channels_last", 0))


def is_non_negative(value: ir.Value | None) -> bool:
    """Return whether the graph proves that no element of `value` is below 0; uint8 never is."""
    while value is not None and (node := value.producer()) is not None:
        if value.dtype is not None and value.dtype.numpy().kind == "u":
            return True
        if node.op_type in ("Relu", "Sigmoid", "Softmax", "HardSigmoid"):
            return True
        if node.op_type == "Clip":
            low = constant(node.inputs[1]) if len(node.inputs) > 1 else None
            return low is not None and bool(low >= 0)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            if zero is None or zero.any():
                return False
        elif node.op_type == "Pad":
            fill = node.inputs[2] if len(node.inputs) > 2 else None
            if fill is not None and not _is_non_negative_number(fill):
                return False
        elif node.op_type == "Mul":
            return all(map(_is_non_negative_number, node.inputs))
        elif node.op_type not in _SIGN_PRESERVING:
            return False
        value = node.inputs[0]
    return False


def _is_non_negative_number(value: ir.Value | None) -> bool:
    array = constant(value)
    return bool((array >= 0).all()) if array is not None else is_non_negative(value)


def _is_unpool(node: ir.Node) -> bool:
    return (node.domain, node.op_type) in {("", "MaxUnpool"), (contract.DOMAIN, contract.UNPOOL)}


def has_used_indices(node: ir.Node) -> bool:
    """Return whether `node` is a pool, standard or the plugin's, whose indices are used."""
    if (node.domain, node.op_type) == (contract.DOMAIN, contract.POOL):
        return True
    return (
        (node.domain, node.op_type) == ("", "MaxPool")
        and len(node.outputs) > 1
        and (bool(node.outputs[1].uses()) or node.outputs[1].is_graph_output())
    )


def _pair(pool: ir.Node, any_window: bool) -> Pair:
    index = pool.outputs[1]
    if index.is_graph_output():
        raise _refusal(pool, "its indices are an output of the graph")
    direct = [use.node for use in index.uses()]
    repeats = tuple(node for node in direct if repeat_count(node, pool))
    repeated = [use.node for node in repeats for use in node.outputs[0].uses()]
    users = (*(node for node in direct if node not in repeats), *repeated)
    for user in users:
        if not _is_unpool(user) or user.inputs[0] is index:
            raise _refusal(
                pool, f"its indices also feed {user.op_type} '{user.name}'; {WHOLE_INDICES}"
            )
    kernel = _kernel(pool, any_window)
    source = pool.inputs[0]
    assert source is not None
    for unpool in users:
        if _kernel(unpool, any_window) != kernel:
            raise _refusal(unpool, f"its windows are not those of pool '{pool.name}'")
        _check_unpool(pool, unpool, source, repeated=unpool in repeated)
    ceil_mode = bool(int_attribute(pool, "ceil_mode", 0))
    even_only = static_size(source) is None and any(
        _doubles_its_input(unpool, ceil_mode) for unpool in users
    )
    return Pair(pool, users, ceil_mode, is_non_negative(source), repeats, even_only, kernel)


def _doubles_its_input(unpool: ir.Node, ceil_mode: bool) -> bool:
    """Return whether an unpooling of dynamic size fits its pool at even sizes only."""
    if unpool.domain == contract.DOMAIN:  # to_plugin_ops writes such a pair with two roundings
        return bool(int_attribute(unpool, "ceil_mode", 1)) != ceil_mode
    return len(unpool.inputs) < 3 or unpool.inputs[2] is None


def repeat_count(node: ir.Node, pool: ir.Node) -> int:
    """Return how often `node` repeats the indices that `pool` computes for one image; else 0.

    Codes are expanded; flat indices are added to the offset of each copy, which must be right.
    """
    values = constant(node.inputs[1]) if len(node.inputs) == 2 else None
    if values is None or node.domain or node.op_type not in ("Add", "Expand"):
        return 0
    if node.op_type == "Expand":
        return int(values[0]) if values.shape == (4,) and (values[1:] == 1).all() else 0
    source = pool.inputs[0]
    shape = None if source is None else source.shape
    if pool.domain or shape is None or not shape.is_static() or shape[0] != 1:
        return 0
    expected = np.arange(len(values)) * math.prod(shape.numpy())
    return len(values) if np.array_equal(values, expected.reshape(-1, 1, 1, 1)) else 0


def is_two_by_two(node: ir.Node) -> bool:
    """Return whether a pool or unpooling is 2x2 with stride 2 and no padding."""
    kernel, strides, pads, dilations = _geometry(node)
    auto_pad = node.attributes.get("auto_pad")
    padded = any(pads) or (auto_pad is not None and auto_pad.as_string() not in ("NOTSET", "VALID"))
    return kernel == strides == (2, 2) and not padded and all(d == 1 for d in dilations)


def _geometry(node: ir.Node) -> tuple[tuple[int, ...], ...]:
    defaults = {"kernel_shape": (), "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    return tuple(ints_attribute(node, name, default) for name, default in defaults.items())


_OTHER_RANKS = {
    1: ", in 2-D: write a 1-D pool of k as a 2-D pool of (1, k) on (N, C, 1, L)",
    3: ", in 2-D: 3-D pools are not supported; run the file in ONNX Runtime as it is",
}


def _kernel(node: ir.Node, any_window: bool) -> Size:
    """Return the size of the windows of a pool or unpooling, 2x2 unless `any_window`."""
    if node.domain != "":
        return 2, 2
    kernel, strides, pads, dilations = _geometry(node)
    two, other = is_two_by_two(node), are_side_by_side(node)
    if not two and not (other and any_window):
        advice = "; the lowered form supports it, in ONNX Runtime and OpenVINO" if other else ""
        advice = _OTHER_RANKS.get(len(kernel), advice)
        expected = "windows side by side, unpadded" if any_window else "2x2 with stride 2, unpadded"
        raise _refusal(
            node,
            f"kernel {list(kernel)}, strides {list(strides)}, pads {list(pads)}, dilations "
            f"{list(dilations)}; expected {expected}{advice}",
        )
    if int_attribute(node, "storage_order", 0):
        raise _refusal(node, "column-major indices (storage_order 1)")
    return kernel[0], kernel[1]


def are_side_by_side(node: ir.Node) -> bool:
    """Return whether the 2-D windows of a pool or unpooling neither overlap nor reach outside."""
    kernel, strides, pads, dilations = _geometry(node)
    plain = "auto_pad" not in node.attributes or node.attributes["auto_pad"].as_string() in (
        "NOTSET",
        "VALID",
    )
    inside = plain and not any(pads) and not int_attribute(node, "ceil_mode", 0)
    return len(kernel) == 2 and kernel == strides and inside and all(d == 1 for d in dilations)


def _check_unpool(pool: ir.Node, unpool: ir.Node, source: ir.Value, repeated: bool = False) -> None:
    pooled, values = pool.outputs[0].shape, _shape(unpool.inputs[0])
    if pooled is not None and values is not None:
        differ = [
            (a, b)
            for a, b in list(zip(pooled, values, strict=False))[int(repeated) :]
            if isinstance(a, int) and isinstance(b, int) and a != b
        ]
        if differ or len(pooled) != len(values):
            raise _refusal(
                unpool, f"its input {values} does not have the shape of the pool's output {pooled}"
            )
    read, written = static_size(source), unpool_size(unpool)
    if read is None or written is None:
        _check_dynamic_size(pool, unpool, source)
        return
    if read == written:
        return
    # Codes are positions in a window, so planes may be padded to even sizes. The flat indices of a
    # standard pair mean other positions in a plane of another size.
    even = tuple(size + size % 2 for size in read)
    if unpool.domain == "" or written != even:
        raise _refusal(
            unpool,
            f"it unpools to {written[0]}x{written[1]} but pool '{pool.name}' read "
            f"{read[0]}x{read[1]}; use input sizes that are multiples of 32, or give it "
            f"output_shape {read[0]}x{read[1]}",
        )


def _check_dynamic_size(pool: ir.Node, unpool: ir.Node, source: ir.Value) -> None:
    """Check that a computed output shape is that of the pool's input, whatever the size is."""
    shape = unpool.inputs[2] if not unpool.domain and len(unpool.inputs) > 2 else None
    if shape is not None and not is_size_of(shape, source):
        raise _refusal(
            unpool,
            f"the graph does not show that its output_shape is the size that pool '{pool.name}' "
            "reads; export with a static size, or compute it from the Shape of the pool's input",
        )


def unpool_size(unpool: ir.Node) -> Size | None:
    """Return the (height, width) that an unpooling writes, or None if it is not static."""
    if unpool.domain == contract.DOMAIN:
        height, width = int_attribute(unpool, "height", 0), int_attribute(unpool, "width", 0)
        return (height, width) if height and width else static_size(unpool.outputs[0])
    shape = constant(unpool.inputs[2]) if len(unpool.inputs) > 2 else None
    if shape is not None:
        return int(shape[-2]), int(shape[-1])
    if len(unpool.inputs) > 2 and unpool.inputs[2] is not None:
        return static_size(unpool.outputs[0])
    size = static_size(unpool.inputs[0]) if unpool.inputs[0] is not None else None
    kernel = ints_attribute(unpool, "kernel_shape", (2, 2))
    return None if size is None else (kernel[0] * size[0], kernel[1] * size[1])


def _shape(value: ir.Value | None) -> ir.Shape | None:
    return None if value is None else value.shape


def _refusal(node: ir.Node, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{node.op_type} '{node.name}' cannot be rewritten exactly: {why}")
