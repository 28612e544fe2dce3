"""DeconvNet (Noh, Hong, Han, 2015): SegNet's unpooling, with fully connected layers between.

The form that the SegNet paper times has 1024 channels in these layers, and kernels as large as
the whole map; the original has 4096 channels and 7x7 kernels, for 224x224 px.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segnet_export.models.vgg import stages, unit

# The last stage ends with its first width, before the 1x1 score.
DECODER = ((8, 8, 8), (8, 8, 4), (4, 4, 2), (2, 1), (1, 1))


class DeconvNet(nn.Module):
    """VGG16, fc6, fc7, fc6-deconv, and VGG16 mirrored by unpooling and 3x3 deconvolutions.

    (N, 3, H, W) float32 in, (N, K, H, W) logits out. `fc_channels` is the channels of fc6 and fc7;
    `kernel` is the (height, width) of fc6 and fc6-deconv, at most that of the fifth pool's map.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 64,
        fc_channels: int = 1024,
        kernel: tuple[int, int] = (12, 15),
    ):
        super().__init__()
        self.stages = nn.ModuleList(stages(width))
        self.fc6 = unit(8 * width, fc_channels, kernel, 0)
        self.fc7 = unit(fc_channels, fc_channels, 1, 0)
        self.fc6_deconv = _deconvolution(fc_channels, 8 * width, kernel, 0)
        channels, built = 8 * width, []
        for stage in DECODER:
            units = []
            for factor in stage:
                units.append(_deconvolution(channels, factor * width, 3, 1))
                channels = factor * width
            built.append(nn.Sequential(*units))
        self.decoder = nn.ModuleList(built)
        self.score = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled: list[tuple[Tensor, torch.Size]] = []
        for stage in self.stages:
            x = stage(x)
            size = x.shape[-2:]
            x, plane_index = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
            pooled.append((plane_index, size))
        x = self.fc6_deconv(self.fc7(self.fc6(x)))
        for stage in self.decoder:
            plane_index, size = pooled.pop()
            x = stage(F.max_unpool2d(x, plane_index, (2, 2), (2, 2), output_size=list(size)))
        return self.score(x)  # type: ignore[no-any-return]  # torch's module calls are Any


def pooled_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of an image of `size` after five pools that round up."""
    return -(-size[0] // 32), -(-size[1] // 32)


def _deconvolution(
    cin: int, cout: int, kernel: int | tuple[int, int], padding: int
) -> nn.Sequential:
    deconv = nn.ConvTranspose2d(cin, cout, kernel, padding=padding)
    return nn.Sequential(deconv, nn.BatchNorm2d(cout), nn.ReLU())
