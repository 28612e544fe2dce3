"""The decoder variants of the paper's Table 1 that do not unpool.

SegNet-Basic's encoder, followed by FCN's decoder or by bilinear interpolation.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from segnet_export.models.basic import basic_unit


class FCNBasic(nn.Module):
    """Four 7x7 encoders of SegNet-Basic, and x2 upsampling of class scores or features.

    (N, 3, H, W) float32 in, (N, K, H, W) logits out. `upsampling` is 'learnt' (8x8
    deconvolutions) or 'bilinear'. `addition` adds the encoders' maps to the decoders'.
    `reduction` first reduces these maps to K channels by 1x1 convolutions; without it, only the
    last decoder's map is reduced.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 64,
        upsampling: str = "learnt",
        addition: bool = True,
        reduction: bool = True,
    ):
        super().__init__()
        self.lrn = nn.LocalResponseNorm(5, 1e-4, 0.75)
        self.encoder = nn.ModuleList(basic_unit(3 if i == 0 else width, width) for i in range(4))
        self.addition, self.reduction = addition, reduction
        channels = num_classes if reduction else width
        scored = 4 if addition and reduction else 1
        self.scores = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for _ in range(scored))
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(channels, channels, 8, stride=2, padding=3, bias=False)
            for _ in range(4 if upsampling == "learnt" else 0)
        )

    def forward(self, x: Tensor) -> Tensor:
        x, maps = self.lrn(x), list[Tensor]()
        sizes = []
        for unit in self.encoder:
            x = F.relu(unit(x))
            sizes.append(x.shape[2:])
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            maps.append(x)
        if self.reduction:
            x = self.scores[0](x)
        for stage in range(4):
            x = self._double(x, stage)
            height, width = sizes[3 - stage]
            x = x[:, :, :height, :width]
            if self.addition and stage < 3:
                skip = maps[2 - stage]
                x = x + (self.scores[stage + 1](skip) if self.reduction else skip)
        return x if self.reduction else self.scores[0](x)

    def _double(self, x: Tensor, stage: int) -> Tensor:
        if len(self.decoder):
            return self.decoder[stage](x)  # type: ignore[no-any-return]  # torch's module calls are Any
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
