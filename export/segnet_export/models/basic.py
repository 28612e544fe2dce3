"""SegNet-Basic (the paper's section 3.1 and the authors' Caffe model): 4 + 4 convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SegNetBasic(nn.Module):
    """LRN, four 7x7 encoders, four 7x7 decoders without ReLU and a 1x1 classifier.

    (N, C, H, W) float32 in, (N, K, H, W) logits out. 1,416,587 parameters at 11 classes.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        width: int = 64,
        ceil_mode: bool = True,
        lrn: bool = True,
    ):
        super().__init__()
        self.ceil_mode = ceil_mode
        self.lrn = nn.LocalResponseNorm(5, 1e-4, 0.75) if lrn else nn.Identity()
        self.encoder = nn.ModuleList(
            _unit(in_channels if stage == 0 else width, width) for stage in range(4)
        )
        self.decoder = nn.ModuleList(_unit(width, width) for _ in range(4))
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lrn(x)
        pooled: list[tuple[Tensor, torch.Size]] = []
        for unit in self.encoder:
            x = F.relu(unit(x))
            size = x.shape[-2:]
            x, plane_index = F.max_pool2d(x, 2, 2, ceil_mode=self.ceil_mode, return_indices=True)
            pooled.append((plane_index, size))
        for unit in self.decoder:
            plane_index, size = pooled.pop()
            x = unit(F.max_unpool2d(x, plane_index, (2, 2), (2, 2), output_size=list(size)))
        return self.classifier(x)  # type: ignore[no-any-return]  # torch's module calls are Any


def _unit(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, 7, padding=3), nn.BatchNorm2d(cout))
