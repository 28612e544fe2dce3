"""A small network with two dropouts and one pool/unpool pair, built in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from graphs import model
from onnx import helper as h

CHANNELS, CLASSES = 6, 5


def dropout_net(size: tuple[int, int], ratios: tuple[float, float] = (0.5, 0.25)) -> ir.Model:
    """Return conv, pool, dropout, conv, dropout, unpool, and a classifier, for odd sizes too."""
    rng = np.random.default_rng(0)
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    even = [1, CHANNELS, *(s + s % 2 for s in size)]
    nodes = [
        h.make_node("Conv", ["x", "a.weight"], ["c"], pads=[1] * 4),
        h.make_node("Relu", ["c"], ["r"]),
        h.make_node("Pad", ["r", "pads"], ["padded"]),
        h.make_node("MaxPool", ["padded"], ["y", "index"], name="pool", **window),
        h.make_node("Dropout", ["y", "ratio.0"], ["dropped"], name="first"),
        h.make_node("Conv", ["dropped", "b.weight"], ["d"], pads=[1] * 4),
        h.make_node("Relu", ["d"], ["s"]),
        h.make_node("Dropout", ["s", "ratio.1"], ["t"], name="second"),
        h.make_node("MaxUnpool", ["t", "index", "size"], ["u"], name="unpool", **window),
        h.make_node("Slice", ["u", "starts", "ends", "axes"], ["cut"]),
        h.make_node("Concat", ["cut", "r"], ["joined"], axis=1),
        h.make_node("Conv", ["joined", "k.weight"], ["logits"], pads=[1] * 4),
    ]
    shapes = {"a": (6, 3), "b": (6, 6), "k": (CLASSES, 12)}
    arrays: dict[str, Any] = {
        f"{name}.weight": (rng.standard_normal((*shape, 3, 3)) * 0.4).astype(np.float32)
        for name, shape in shapes.items()
    }
    arrays |= {f"ratio.{i}": np.array(r, np.float32) for i, r in enumerate(ratios)}
    lists = {"pads": [0] * 6 + [s % 2 for s in size], "size": even, "ends": list(size)}
    lists |= {"starts": [0, 0], "axes": [2, 3]}
    arrays |= {name: np.array(values, np.int64) for name, values in lists.items()}
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return model(nodes, {"x": [1, 3, *size]}, {"logits": [1, CLASSES, *size]}, constants)
