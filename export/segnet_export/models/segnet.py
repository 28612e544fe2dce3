"""SegNet (Badrinarayanan, Kendall, Cipolla; arXiv 1511.00561): 13 + 13 convolutions.

The options cover the variants found in published checkpoints; the defaults are the authors' Caffe
network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ENCODER = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
DROPOUTS = ("bayesian", "pascal")
CENTRAL_STAGES = 3  # of the encoder and of the decoder, in Bayesian SegNet
DECODER = ((8, 8, 8), (8, 8, 4), (4, 4, 2), (2, 1), (1,))


@dataclass(frozen=True)
class SegNetConfig:
    """The layers of a SegNet and how they compute.

    `encoder` and `decoder` list the output channels of each stage's convolutions, without the
    classifier.
    `ceil_mode`: pools round sizes up as in Caffe (45 -> 23), not down as in PyTorch (45 -> 22).
    `relu_before_bn`: conv -> ReLU -> BN (nshaud/DeepNetsForEO).
    `classifier_bn_relu`: BN and ReLU follow the classifier (meetps/pytorch-semseg).
    `encoder_bn`: False for an encoder without batch normalisation (piwise's VGG16).
    `keep_size`: unpooling restores the pool's input size; without it the output is
    exactly twice the input, which needs sizes that are multiples of 32.
    `classifier_kernel`: its height and width in px. `eps`: of batch normalisation.
    `dropout`: where values are dropped, with probability 0.5: '' nowhere; 'bayesian' after the last
    three pools and the first three stages of the decoder (Bayesian SegNet); 'pascal' before every
    pool and every unpooling (the authors' model for Pascal VOC).

    >>> SegNetConfig.standard(11, width=8).encoder
    ((8, 8), (16, 16), (32, 32, 32), (64, 64, 64), (64, 64, 64))
    """

    num_classes: int
    in_channels: int = 3
    encoder: tuple[tuple[int, ...], ...] = tuple(tuple(64 * c for c in s) for s in ENCODER)
    decoder: tuple[tuple[int, ...], ...] = tuple(tuple(64 * c for c in s) for s in DECODER)
    ceil_mode: bool = True
    relu_before_bn: bool = False
    classifier_bn_relu: bool = False
    encoder_bn: bool = True
    keep_size: bool = True
    classifier_kernel: int = 3
    eps: float = 1e-5
    dropout: str = ""

    @classmethod
    def standard(cls, num_classes: int, width: int = 64, **options: object) -> SegNetConfig:
        """Return the paper's layout with `width` channels in the first stage (64 in the paper).

        `options` are the other fields, by keyword.
        """
        base = cls(
            num_classes,
            encoder=tuple(tuple(width * c for c in stage) for stage in ENCODER),
            decoder=tuple(tuple(width * c for c in stage) for stage in DECODER),
        )
        return replace(base, **options)  # type: ignore[arg-type]  # field names are checked there


class ConvUnit(nn.Module):
    """3x3 convolution, batch normalisation and ReLU, in either order of the last two."""

    def __init__(self, cin: int, cout: int, relu_before_bn: bool, eps: float, bn: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, padding=1)
        self.bn = nn.BatchNorm2d(cout, eps=eps) if bn else nn.Identity()
        self.relu_before_bn = relu_before_bn

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.bn(F.relu(x)) if self.relu_before_bn else F.relu(self.bn(x))


class SegNet(nn.Module):
    """SegNet from a configuration: (N, C, H, W) float32 in, (N, K, H, W) logits out.

    `units` lists the convolution units in execution order, encoder first; `classifier` is the last
    convolution, and `classifier_bn` its batch normalisation if the configuration has one.

    >>> import torch
    >>> from segnet_export import SegNet, SegNetConfig
    >>> SegNet(SegNetConfig.standard(5, width=2))(torch.zeros(1, 3, 45, 61)).shape
    torch.Size([1, 5, 45, 61])
    """

    def __init__(self, config: SegNetConfig):
        super().__init__()
        self.config = config
        channels = config.in_channels
        units = []
        stages = [(stage, config.encoder_bn) for stage in config.encoder]
        stages += [(stage, True) for stage in config.decoder]
        for stage, bn in stages:
            for width in stage:
                units.append(ConvUnit(channels, width, config.relu_before_bn, config.eps, bn))
                channels = width
        self.units = nn.ModuleList(units)
        self.dropout = nn.Dropout(0.5)
        kernel = config.classifier_kernel
        self.classifier = nn.Conv2d(channels, config.num_classes, kernel, padding=kernel // 2)
        self.classifier_bn = (
            nn.BatchNorm2d(config.num_classes, eps=config.eps)
            if config.classifier_bn_relu
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        units = iter(self.units)
        pooled: list[tuple[Tensor, torch.Size]] = []
        bayesian, pascal = (self.config.dropout == name for name in DROPOUTS)
        first_central = len(self.config.encoder) - CENTRAL_STAGES
        for number, stage in enumerate(self.config.encoder):
            for _ in stage:
                x = next(units)(x)
            x = self.dropout(x) if pascal else x
            size = x.shape[-2:]
            x, plane_index = F.max_pool2d(
                x, 2, 2, ceil_mode=self.config.ceil_mode, return_indices=True
            )
            x = self.dropout(x) if bayesian and number >= first_central else x
            pooled.append((plane_index, size))
        for number, stage in enumerate(self.config.decoder):
            x = self.dropout(x) if pascal else x
            plane_index, size = pooled.pop()
            output_size = list(size) if self.config.keep_size else None
            x = F.max_unpool2d(x, plane_index, (2, 2), (2, 2), output_size=output_size)
            for _ in stage:
                x = next(units)(x)
            x = self.dropout(x) if bayesian and number < CENTRAL_STAGES else x
        x = self.classifier_bn(self.classifier(x))
        return F.relu(x) if self.config.classifier_bn_relu else x
