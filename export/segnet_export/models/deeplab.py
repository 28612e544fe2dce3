"""DeepLab-LargeFOV, version 1 (Chen et al., 2015), without the CRF."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from segnet_export.models.vgg import stages, unit

STRIDES = (2, 2, 2, 1, 1)
CROP = 7  # a 16x16 deconvolution of stride 8 centres pixel 0 of its input on 7.5


class DeepLabLargeFOV(nn.Module):
    """VGG16 at an eighth of the size: (N, 3, H, W) float32 in, (N, K, H, W) logits out.

    Pools are 3x3 with padding; the last two have stride 1. conv5 has dilation 2, fc6 dilation 12
    and `16 * width` channels. The x8 deconvolution is learnt.
    """

    def __init__(self, num_classes: int, *, width: int = 64):
        super().__init__()
        self.stages = nn.ModuleList(stages(width))
        for convolution in self.stages[4].modules():
            if isinstance(convolution, nn.Conv2d):
                convolution.dilation, convolution.padding = (2, 2), (2, 2)
        self.fc6 = unit(8 * width, 16 * width, 3, 12, dilation=12)
        self.fc7 = unit(16 * width, 16 * width, 1, 0)
        self.dropout = nn.Dropout(0.5)
        self.fc8 = nn.Conv2d(16 * width, num_classes, 1)
        self.upscore = nn.ConvTranspose2d(num_classes, num_classes, 16, stride=8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        for stage, stride in zip(self.stages, STRIDES, strict=True):
            x = F.max_pool2d(stage(x), 3, stride, padding=1, ceil_mode=stride > 1)
        x = F.avg_pool2d(x, 3, 1, padding=1)
        x = self.fc8(self.dropout(self.fc7(self.dropout(self.fc6(x)))))
        return self.upscore(x)[:, :, CROP : CROP + height, CROP : CROP + width]  # type: ignore[no-any-return]  # torch's module calls are Any
