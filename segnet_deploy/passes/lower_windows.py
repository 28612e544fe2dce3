"""Lower a pair whose windows are not 2x2: 3x3, 2x1, 7x3 and so on, side by side and unpadded.

A strided Slice takes each element of all windows. As in lower_unpooling the first maximum is found
by comparisons; with more than four elements each is compared with the maximum of those after it.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.graph import Builder, replace, static_size
from segnet_deploy.passes.unpooling_pairs import Pair

_PAIRWISE = 4  # elements of a window, up to which all are compared with one another


def lower_windows(build: Builder, pair: Pair) -> tuple[ir.Value, ...]:
    """Lower the pool of `pair`, of static size; return a mask for each element of the windows.

    Raises UnsupportedModelError for a pool of dynamic size.
    """
    size = static_size(pair.source)
    if size is None:
        raise UnsupportedModelError(
            f"MaxPool '{pair.pool.name}' has windows of {pair.kernel[0]}x{pair.kernel[1]} and a "
            "dynamic size; export with a static --imgsz"
        )
    ends = build.const([s // k * k for s, k in zip(size, pair.kernel, strict=True)])
    axes, steps = build.const([2, 3]), build.const(pair.kernel)
    elements = tuple(
        build.op("Slice", pair.source, build.const([row, column]), ends, axes, steps)
        for row in range(pair.kernel[0])
        for column in range(pair.kernel[1])
    )
    replace(pair.pool.outputs[0], build.op("Max", *elements))
    return _first_maximum(build, elements)


def lower_window_unpool(
    build: Builder, pair: Pair, unpool: ir.Node, masks: tuple[ir.Value, ...]
) -> None:
    """Replace `unpool` by values at the positions of `masks`, and zeros elsewhere."""
    values, size = unpool.inputs[0], static_size(pair.source)
    assert values is not None
    assert size is not None
    shape = values.shape or pair.pool.outputs[0].shape
    channels = None if shape is None else shape[1]
    if not isinstance(channels, int):
        raise UnsupportedModelError(f"MaxUnpool '{unpool.name}' has channels of unknown number")
    rows, columns = (s // k for s, k in zip(size, pair.kernel, strict=True))
    dtype = (values.dtype or pair.source.dtype or ir.DataType.FLOAT).numpy()
    zero = build.const(0.0, dtype)
    planes = build.op("Concat", *(build.op("Where", m, values, zero) for m in masks), axis=1)
    split = build.op("Reshape", planes, build.const([-1, *pair.kernel, channels, rows, columns]))
    mixed = build.op("Transpose", split, perm=[0, 3, 4, 1, 5, 2])
    covered = [rows * pair.kernel[0], columns * pair.kernel[1]]
    full = build.op("Reshape", mixed, build.const([-1, channels, *covered]))
    rest = np.subtract(size, covered)
    if rest.any():
        full = build.op("Pad", full, build.const([0] * 6 + rest.tolist()), mode="constant")
    replace(unpool.outputs[0], full)


def _first_maximum(build: Builder, elements: tuple[ir.Value, ...]) -> tuple[ir.Value, ...]:
    """Return a boolean mask for each element, exactly one of them true in each window."""
    masks: list[ir.Value] = []
    open_windows: ir.Value | None = None  # windows whose maximum was not among the earlier ones
    for wins in _beats_later_ones(build, elements):
        masks.append(wins if open_windows is None else build.op("And", open_windows, wins))
        lost = build.op("Not", wins)
        open_windows = lost if open_windows is None else build.op("And", open_windows, lost)
    assert open_windows is not None
    return (*masks, open_windows)


def _beats_later_ones(build: Builder, elements: tuple[ir.Value, ...]) -> list[ir.Value]:
    """Return for each element but the last whether it is at least as large as all after it."""
    if len(elements) <= _PAIRWISE:
        return [
            reduce(
                lambda a, b: build.op("And", a, b),
                [build.op("GreaterOrEqual", element, later) for later in elements[number:]],
            )
            for number, element in enumerate(elements[:-1], start=1)
        ]
    found, largest = list[ir.Value](), elements[-1]
    for element in reversed(elements[:-1]):
        found.append(build.op("GreaterOrEqual", element, largest))
        largest = build.op("Max", element, largest)
    return found[::-1]
