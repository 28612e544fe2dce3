"""The weights of our PyTorch networks as blobs of a Caffe net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def blobs(module: nn.Module, names: Sequence[str], learned: bool = False) -> dict[str, list[Any]]:
    """Return the blobs of `module`, whose convolutions are called `names` in execution order.

    BN layers hold their statistics, as after compute_bn_statistics.py; if `learned`, only what
    training learns, as in a snapshot.
    """
    found: dict[str, list[Any]] = {}
    remaining, last = list(names), ""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            last = remaining.pop(0)
            assert part.bias is not None
            found[last] = [_array(part.weight), _array(part.bias)]
        elif isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            scale, shift = part.weight, part.bias
            if not learned:
                scale = scale / torch.sqrt(part.running_var.double() + part.eps)
                shift = shift - part.running_mean * scale
            found[f"{last}_bn"] = [_array(value).reshape(1, -1, 1, 1) for value in (scale, shift)]
    assert not remaining
    return found


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().float().numpy()
