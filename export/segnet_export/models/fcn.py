"""FCN-8s and FCN-32s (Long, Shelhamer, Darrell, 2015) with learnt deconvolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from segnet_export.models.vgg import stages, unit


class FCN(nn.Module):
    """VGG16 with convolutional fc6 and fc7: (N, 3, H, W) float32 in, (N, K, H, W) logits out.

    The first convolution pads by 100 px, as in the authors' Caffe network, so that every size
    works; each score is cropped accordingly. `stride` is 8 (the scores of pool4 and pool3 are
    added) or 32. fc6 and fc7 have `64 * width` channels.
    """

    def __init__(self, num_classes: int, *, width: int = 64, stride: int = 8):
        super().__init__()
        self.stages = nn.ModuleList(stages(width))
        self.stages[0][0][0].padding = (100, 100)  # type: ignore[index]  # Sequential of units
        self.fc6 = unit(8 * width, 64 * width, 7, 0)
        self.fc7 = unit(64 * width, 64 * width, 1, 0)
        self.dropout = nn.Dropout(0.5)
        self.score = nn.Conv2d(64 * width, num_classes, 1)
        self.stride = stride
        if stride == 8:
            self.score_pool4 = nn.Conv2d(8 * width, num_classes, 1)
            self.score_pool3 = nn.Conv2d(4 * width, num_classes, 1)
            self.upscore2 = _deconvolution(num_classes, 4, 2)
            self.upscore4 = _deconvolution(num_classes, 4, 2)
        self.upscore = _deconvolution(num_classes, 2 * stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        pools: list[Tensor] = []
        for stage in self.stages:
            x = F.max_pool2d(stage(x), 2, 2, ceil_mode=True)
            pools.append(x)
        x = self.dropout(self.fc7(self.dropout(self.fc6(x))))
        x = self.score(x)
        if self.stride == 8:
            x = _add_cropped(self.upscore2(x), self.score_pool4(pools[3]), 5)
            x = _add_cropped(self.upscore4(x), self.score_pool3(pools[2]), 9)
        crop = 31 if self.stride == 8 else 19
        return self.upscore(x)[:, :, crop : crop + height, crop : crop + width]  # type: ignore[no-any-return]  # torch's module calls are Any


def _deconvolution(channels: int, kernel: int, stride: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, kernel, stride=stride, bias=False)


def _add_cropped(x: Tensor, score: Tensor, crop: int) -> Tensor:
    return x + score[:, :, crop : crop + x.shape[2], crop : crop + x.shape[3]]
