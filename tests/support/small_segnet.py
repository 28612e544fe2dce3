"""A small SegNet for tests of the exporter."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from segnet_export import SegNet, SegNetConfig

ORT = {"runtimes": ["onnxruntime"]}


def small(seed: int = 0, **options: Any) -> SegNet:
    """Return a network whose statistics fit its weights, so that every stage has an effect."""
    torch.manual_seed(seed)
    net = SegNet(SegNetConfig.standard(5, width=4, **options))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(2, 3, 64, 64))
    return net.eval()
