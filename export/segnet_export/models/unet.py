"""U-Net (Ronneberger, Fischer, Brox, 2015) in its common form: padded, for any size."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FACTORS = (1, 2, 4, 8, 16)


class UNet(nn.Module):
    """Four stages down and four up, with skip connections that concatenate whole feature maps.

    (N, 3, H, W) float32 in, (N, K, H, W) logits out. No batch normalisation, as published;
    `batch_norm` adds it. At odd sizes the upsampled map is smaller than the skipped one, and is
    padded on the right and bottom.
    """

    def __init__(self, num_classes: int, *, width: int = 64, batch_norm: bool = False):
        super().__init__()
        channels = [factor * width for factor in FACTORS]
        self.down = nn.ModuleList(
            _double(cin, cout, batch_norm)
            for cin, cout in zip([3, *channels], channels, strict=False)
        )
        backwards = channels[::-1]
        pairs = list(itertools.pairwise(backwards))
        self.up = nn.ModuleList(nn.ConvTranspose2d(cin, cout, 2, stride=2) for cin, cout in pairs)
        self.join = nn.ModuleList(_double(2 * cout, cout, batch_norm) for _, cout in pairs)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skipped: list[Tensor] = []
        for number, block in enumerate(self.down):
            x = block(x if number == 0 else F.max_pool2d(x, 2, 2))
            skipped.append(x)
        skipped.pop()
        for up, join in zip(self.up, self.join, strict=True):
            skip, x = skipped.pop(), up(x)
            missing = (skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3])
            x = join(torch.cat((skip, F.pad(x, (0, missing[1], 0, missing[0]))), 1))
        return self.classifier(x)  # type: ignore[no-any-return]  # torch's module calls are Any


def _double(cin: int, cout: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (cin, cout):
        layers.append(nn.Conv2d(channels, cout, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(cout))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)
