"""VGG16's convolutions, each with batch normalisation: shared by the compared networks."""

from __future__ import annotations

from torch import nn

from segnet_export.models.segnet import ENCODER


def unit(
    cin: int,
    cout: int,
    kernel: int | tuple[int, int] = 3,
    padding: int | tuple[int, int] = 1,
    dilation: int = 1,
) -> nn.Sequential:
    """Return a convolution, batch normalisation and ReLU."""
    conv = nn.Conv2d(cin, cout, kernel, padding=padding, dilation=dilation)
    return nn.Sequential(conv, nn.BatchNorm2d(cout), nn.ReLU())


def stages(width: int = 64) -> list[nn.Sequential]:
    """Return VGG16's five stages without pools: 13 units; the first stage has `width` channels."""
    channels, built = 3, []
    for stage in ENCODER:
        units = []
        for factor in stage:
            units.append(unit(channels, factor * width))
            channels = factor * width
        built.append(nn.Sequential(*units))
    return built
