"""Insert QuantizeLinear/DequantizeLinear: one scale per source, none on masks and indices.

Activations are uint8, with zero point 0 where they cannot be negative; weights int8 per
output channel, symmetric; biases int32 in the scale of the products. Every value on the
path from a source to a convolution has the source's scale, so that nothing in between is
requantised: DQ -> MaxPool -> Q -> DQ -> Conv, DQ -> MaxUnpool -> Q -> DQ -> Conv.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import PassResult
from segnet_deploy.passes.graph import (
    Builder,
    add_initializer,
    constant,
    infer_shapes,
    opset,
    remove_dead,
)
from segnet_deploy.passes.lower_unpooling import replace_infinite_padding
from segnet_deploy.quant.bias_correction import bias_shift
from segnet_deploy.quant.calibration import Statistics
from segnet_deploy.quant.sites import Site, find_sites
from segnet_deploy.types import Array

_WEIGHT_MAX = 127
_PAIR_MAX = 128  # 255 * 128 < 2 ** 15
_BIAS_MAX = 2**30  # leaves the sum of products its room in int32


@dataclass(frozen=True)
class Scale:
    """real = (quantised - zero_point) * step, of uint8."""

    step: np.float32
    zero_point: int

    @classmethod
    def of(cls, low: float, high: float) -> Scale:
        """Return the scale that covers [low, high] and represents 0 exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = np.float32((high - low) / 255) or np.float32(1)
        return cls(step, round(float(-low / step)))


def insert_qdq(
    model: ir.Model,
    statistics: Statistics,
    keep: Collection[str] = (),
    full_range: bool = False,
) -> PassResult:
    """Quantise every convolution of `model` in place, except the sites named in `keep`.

    `full_range` lets weights use all of int8; weight_scales says why that is not the default.
    Raises UnsupportedModelError if the opset is too old.
    """
    if opset(model) < 13:
        raise UnsupportedModelError(
            f"opset {opset(model)} has no per-channel Q/DQ; expected 13 or newer: convert the "
            "file with onnx.version_converter"
        )
    inserter = _Inserter(model.graph, statistics, full_range)
    sites = [site for site in find_sites(model.graph) if site.name not in keep]
    for site in sites:
        inserter.quantise(site)
    model = infer_shapes(remove_dead(model))
    return PassResult(model, len(sites), tuple(f"int8 '{site.name}'" for site in sites))


def weight_scales(weight: Array, full_range: bool = False) -> Array:
    """Return the scale of each output channel of (K, C, h, w) weights.

    On x86 without VNNI ONNX Runtime and OpenVINO add the products of two neighbouring input
    channels in int16, which saturates silently. So two neighbours of one sign get at most 128
    together, or 64 each if the number of channels is odd. `full_range` omits that.
    """
    largest = np.abs(weight).max(axis=(1, 2, 3))
    if full_range:
        pairs = np.zeros_like(largest)
    elif weight.shape[1] % 2:
        pairs = 2 * largest
    else:
        one, other = weight[:, 0::2], weight[:, 1::2]
        positive = np.maximum(one, 0) + np.maximum(other, 0)
        negative = np.maximum(-one, 0) + np.maximum(-other, 0)
        pairs = np.maximum(positive, negative).max(axis=(1, 2, 3))
    # Both of a pair may be rounded up by a half.
    scales: Array = np.maximum(largest / _WEIGHT_MAX, pairs / (_PAIR_MAX - 1))
    return scales


class _Inserter:
    """Adds nodes to one graph; values that are already quantised are reused."""

    def __init__(self, graph: ir.Graph, statistics: Statistics, full_range: bool):
        self.graph, self.statistics, self.full_range = graph, statistics, full_range
        self.done: dict[int, ir.Value] = {}  # id of a float value -> its dequantised twin

    def quantise(self, site: Site) -> None:
        """Quantise the path and the weights of `site`."""
        source, read = str(site.source.name), str(site.path[-1].name)
        scale = Scale.of(*self.statistics.ranges[source])
        for value in site.path[1:]:
            replace_infinite_padding(Builder(self.graph, site.conv), value)  # no integer is -inf
        for value in site.path:
            node = value.producer()
            if node is not None and value is not site.source:
                inner = node.inputs[0]
                node.replace_input_with(0, self.done.get(id(inner), inner))
            if id(value) not in self.done:
                self.done[id(value)] = self._pair(value, scale, source)
        site.conv.replace_input_with(0, self.done[id(site.path[-1])])
        self._weights(site, scale.step, self.statistics.means[read])

    def _pair(self, value: ir.Value, scale: Scale, source: str) -> ir.Value:
        """Add Q and DQ after `value`; return their result."""
        step = self._constant(f"{source}_scale", scale.step)
        zero = self._constant(f"{source}_zero_point", np.uint8(scale.zero_point))
        quantised = ir.node("QuantizeLinear", [value, step, zero])
        back = ir.node("DequantizeLinear", [quantised.outputs[0], step, zero])
        quantised.outputs[0].name, back.outputs[0].name = f"{value.name}_q", f"{value.name}_dq"
        back.outputs[0].type, back.outputs[0].shape = value.type, value.shape
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], [quantised, back])
        else:
            self.graph.insert_after(producer, [quantised, back])
        return back.outputs[0]

    def _weights(self, site: Site, step: np.float32, means: Array) -> None:
        conv, name, weight = site.conv, self._unused(site.name), constant(site.conv.inputs[1])
        bias = constant(conv.inputs[2]) if len(conv.inputs) > 2 else None
        assert weight is not None
        real = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
        scales = weight_scales(weight, self.full_range)
        # A channel of tiny weights still has to hold its bias.
        scales = np.maximum(scales, np.abs(real) / (step * np.float32(_BIAS_MAX)))
        scales = np.where(scales > 0, scales, 1).astype(np.float32)
        column = scales[:, None, None, None]
        levels = np.rint(weight / column).clip(-_WEIGHT_MAX, _WEIGHT_MAX).astype(np.int8)
        real += bias_shift(weight, levels * column, means)
        products = (scales * step).astype(np.float32)
        held = np.rint(real / products).clip(-(2**31), 2**31 - 1).astype(np.int32)
        if len(conv.inputs) < 3:
            conv.resize_inputs(3)
        conv.replace_input_with(1, self._stored(conv, f"{name}.weight", levels, scales))
        conv.replace_input_with(2, self._stored(conv, f"{name}.bias", held, products))

    def _unused(self, name: str) -> str:
        """Return `name`, numbered if an earlier convolution has the same weights."""
        names = chain([name], (f"{name}.{number}" for number in count(2)))
        return next(n for n in names if f"{n}.weight_q" not in self.graph.initializers)

    def _stored(self, conv: ir.Node, name: str, levels: Array, scales: Array) -> ir.Value:
        """Add a DQ of a constant before `conv`; return its result."""
        inputs = [
            self._constant(f"{name}_q", levels),
            self._constant(f"{name}_scale", scales),
            self._constant(f"{name}_zero_point", np.zeros(scales.shape, levels.dtype)),
        ]
        node = ir.node("DequantizeLinear", inputs, {"axis": 0})
        node.outputs[0].name = f"{name}_dq"
        self.graph.insert_before(conv, node)
        return node.outputs[0]

    def _constant(self, name: str, array: Any) -> ir.Value:
        if name in self.graph.initializers:
            return self.graph.initializers[name]
        return add_initializer(self.graph, name, np.asarray(array))
