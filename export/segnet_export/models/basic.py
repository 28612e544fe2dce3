"""SegNet-Basic (the paper's section 3.1 and the authors' Caffe model): 4 + 4 convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SegNetBasic(nn.Module):
    """LRN, four 7x7 encoders, four 7x7 decoders without ReLU and a 1x1 classifier.

    (N, C, H, W) float32 in, (N, K, H, W) logits out. 1,416,587 parameters at 11 classes.
    `width` is the channels of every stage; `ceil_mode`: pools round sizes up; `lrn`: local response
    normalisation of the input. Two of the paper's variants (Table 1): `encoder_addition` adds each
    encoder's map to its decoder's; with `single_channel` each decoder filter reads one channel.
    `dropout`: values are dropped with probability 0.5 at Bayesian SegNet-Basic's four places, after
    the last two pools and the first two decoders.

    >>> import torch
    >>> from segnet_export import SegNetBasic
    >>> SegNetBasic(5, width=2)(torch.zeros(1, 3, 37, 45)).shape
    torch.Size([1, 5, 37, 45])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        width: int = 64,
        ceil_mode: bool = True,
        lrn: bool = True,
        encoder_addition: bool = False,
        single_channel: bool = False,
        dropout: bool = False,
    ):
        super().__init__()
        self.ceil_mode = ceil_mode
        self.encoder_addition = encoder_addition
        self.drops, self.dropout = dropout, nn.Dropout(0.5)
        self.lrn = nn.LocalResponseNorm(5, 1e-4, 0.75) if lrn else nn.Identity()
        self.encoder = nn.ModuleList(
            basic_unit(in_channels if stage == 0 else width, width) for stage in range(4)
        )
        self.decoder = nn.ModuleList(
            basic_unit(width, width, width if single_channel else 1) for _ in range(4)
        )
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lrn(x)
        pooled: list[tuple[Tensor, Tensor]] = []
        for number, unit in enumerate(self.encoder):
            feature = F.relu(unit(x))
            x, plane_index = F.max_pool2d(
                feature, 2, 2, ceil_mode=self.ceil_mode, return_indices=True
            )
            x = self.dropout(x) if self.drops and number >= 2 else x
            pooled.append((plane_index, feature))
        for number, unit in enumerate(self.decoder):
            plane_index, feature = pooled.pop()
            size = list(feature.shape[-2:])
            x = unit(F.max_unpool2d(x, plane_index, (2, 2), (2, 2), output_size=size))
            x = x + feature if self.encoder_addition else x
            x = self.dropout(x) if self.drops and number < 2 else x
        return self.classifier(x)  # type: ignore[no-any-return]  # torch's module calls are Any


def basic_unit(cin: int, cout: int, groups: int = 1) -> nn.Sequential:
    """Return a 7x7 convolution with batch normalisation."""
    conv = nn.Conv2d(cin, cout, 7, padding=3, groups=groups)
    return nn.Sequential(conv, nn.BatchNorm2d(cout))
