"""Sizes of the networks, as published."""

from __future__ import annotations

import pytest
import torch

from segnet_export import SegNet, SegNetBasic, SegNetConfig


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_parameters_are_those_of_the_paper() -> None:
    assert count(SegNet(SegNetConfig.standard(11))) == 29_449_355
    assert count(SegNetBasic(11)) == 1_416_587


@pytest.mark.parametrize("ceil_mode", [True, False])
def test_geometry_at_the_size_of_the_paper(ceil_mode: bool) -> None:
    sizes: list[torch.Size] = []
    model = SegNet(SegNetConfig.standard(2, width=1, ceil_mode=ceil_mode)).eval()
    model.units[10].register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-2:]))
    with torch.no_grad():
        out = model(torch.zeros(1, 3, 360, 480))
    assert out.shape == (1, 2, 360, 480)
    assert tuple(sizes[0]) == ((23, 30) if ceil_mode else (22, 30))


def test_basic_supports_odd_sizes() -> None:
    with torch.no_grad():
        out = SegNetBasic(3, width=2).eval()(torch.zeros(2, 3, 37, 45))
    assert out.shape == (2, 3, 37, 45)
