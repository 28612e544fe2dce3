"""LocalResponseNorm becomes one operator with torch's values; other divisions stay unchanged."""

from __future__ import annotations

import graphs
import numpy as np
import pytest
import torch
from onnx import helper as h
from torch import Tensor, nn

from segnet_deploy.passes.fuse_lrn import fuse_lrn
from segnet_export.torch_graph import to_onnx


class Norm(nn.Module):
    def __init__(self, size: int, k: float):
        super().__init__()
        self.norm = nn.LocalResponseNorm(size, 1e-4, 0.75, k)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("dynamic", [None, "size"])
@pytest.mark.parametrize(("size", "k"), [(5, 1.0), (3, 2.0)])
def test_lrn_is_one_operator_with_torchs_values(size: int, k: float, dynamic: str | None) -> None:
    module = Norm(size, k).eval()
    model, _ = to_onnx(module, torch.zeros(2, 7, 5, 6), dynamic=dynamic)
    assert graphs.operators(model) == ["LRN"]
    x = torch.rand(2, 7, 5, 6, generator=torch.Generator().manual_seed(0)) * 255
    for runtime in ("onnxruntime", "openvino"):
        got = graphs.run(model, x.numpy(), runtime)[0]
        np.testing.assert_allclose(got, module(x).numpy(), rtol=2e-6)


def test_even_lrn_and_other_divisions_are_left_alone() -> None:
    model, _ = to_onnx(Norm(4, 1.0).eval(), torch.zeros(1, 7, 5, 6))
    assert "LRN" not in graphs.operators(model)
    nodes = [h.make_node("Div", ["x", "x"], ["y"])]
    plain = graphs.model(nodes, {"x": [1, 2, 3, 4]}, {"y": [1, 2, 3, 4]})
    assert fuse_lrn(plain).changed == 0
