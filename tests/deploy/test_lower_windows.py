"""Pairs with windows other than 2x2 as plain operators: bit-exact with PyTorch."""

from __future__ import annotations

import graphs
import numpy as np
import onnx
import pytest
import torch
from onnx import helper as h
from torch.nn import functional as F

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.lower_unpooling import lower_unpooling

RUNTIMES = ["onnxruntime", pytest.param("openvino", marks=pytest.mark.needs("openvino"))]


def pair(kernel: tuple[int, int], shape: tuple[int, ...], dynamic: bool = False) -> object:
    """Return x -> MaxPool (y, index) -> MaxUnpool to the size of x (z)."""
    window = {"kernel_shape": kernel, "strides": kernel}
    nodes = [
        h.make_node("MaxPool", ["x"], ["y", "index"], name="pool", **window),
        h.make_node("MaxUnpool", ["y", "index", "size"], ["z"], name="unpool", **window),
    ]
    size = [*shape[:2], "h", "w"] if dynamic else list(shape)
    constants = []
    if dynamic:
        nodes.insert(0, h.make_node("Shape", ["x"], ["size"]))
    else:
        constants.append(onnx.numpy_helper.from_array(np.array(shape), "size"))
    return graphs.model(nodes, {"x": size}, {"y": [None] * 4, "z": size}, constants)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kernel", [(3, 3), (2, 1), (1, 2), (4, 1), (7, 3)])
@pytest.mark.parametrize("values", ["random", "ties", "constant"])
def test_windows_equal_pytorch(kernel: tuple[int, int], values: str, runtime: str) -> None:
    shape = (2, 3, 23, 17)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x = {"random": x, "ties": np.round(x), "constant": np.full_like(x, -2)}[values]
    y, index = F.max_pool2d(torch.from_numpy(x), kernel, return_indices=True)
    z = F.max_unpool2d(y, index, kernel, output_size=shape[2:])
    lowered = lower_unpooling(pair(kernel, shape)).model
    assert not {"MaxPool", "MaxUnpool"} & set(graphs.operators(lowered))
    found = graphs.run(lowered, x, runtime)
    assert np.array_equal(found[0], y.numpy())
    assert np.array_equal(found[1], z.numpy())


def test_windows_of_dynamic_size_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="'pool' has windows of 3x3 and a dynamic size"):
        lower_unpooling(pair((3, 3), (1, 2, 9, 9), dynamic=True))
