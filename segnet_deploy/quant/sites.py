"""The convolutions that can be quantised, and the sources of the values that they read.

Pools, unpoolings, pads and slices only move values, so a convolution after them reads what an
earlier node computed: its source. One scale per source serves the whole path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segnet_deploy.passes.graph import constant

_PASSING = ("MaxPool", "MaxUnpool", "Pad", "Slice", "Identity", "Dropout")


@dataclass(frozen=True)
class Site:
    """A convolution with constant weights; `path` goes from its source to its input."""

    conv: ir.Node
    path: tuple[ir.Value, ...]

    @property
    def name(self) -> str:
        """The name of the weights, by which users know their layers."""
        weight = self.conv.inputs[1]
        return str(self.conv.name if weight is None else weight.name).removesuffix(".weight")

    @property
    def source(self) -> ir.Value:
        """The value that sets the scale."""
        return self.path[0]


def find_sites(graph: ir.Graph) -> list[Site]:
    """Return the convolutions of `graph` in order."""
    sites = []
    for node in graph:
        if node.op_type != "Conv" or node.inputs[0] is None:
            continue
        if constant(node.inputs[1]) is not None:
            sites.append(Site(node, _path(node.inputs[0])))
    return sites


def _path(value: ir.Value) -> tuple[ir.Value, ...]:
    path = [value]
    while (node := path[-1].producer()) is not None and _passes(node, path[-1]):
        inner = node.inputs[0]
        assert inner is not None
        path.append(inner)
    return tuple(reversed(path))


def _passes(node: ir.Node, value: ir.Value) -> bool:
    if node.domain or node.op_type not in _PASSING or value is not node.outputs[0]:
        return False
    if node.op_type != "Pad" or len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    low = constant(node.inputs[2])
    return low is not None and bool(np.isneginf(low).all() or not low.any())
