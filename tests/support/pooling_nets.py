"""Small networks with pooling indices: several outputs, several decoders, other pools."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def seeded(net: nn.Module, seed: int = 0) -> nn.Module:
    """Draw the weights of `net`, in the order of its modules; return it in evaluation mode."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
    return net.eval()


def conv(inputs: int, outputs: int) -> nn.Sequential:
    """Return a 3x3 convolution and a ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())


class SeveralOutputs(nn.Module):
    """One encoder and decoder; a dict with labels, depth, normals and nested deep supervision.

    The names are those of values inside the graph, of the file's own input, and of a number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = conv(3, 6), conv(6, 8), conv(8, 6), conv(6, 6)
        self.heads = nn.ModuleList(nn.Conv2d(6, k, 3, padding=1) for k in (4, 1, 3))
        self.aux = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = x / 64 - 2
        a = self.a(x)
        p, i = F.max_pool2d(a, 2, 2, ceil_mode=True, return_indices=True)
        b = self.b(p)
        q, j = F.max_pool2d(b, 2, 2, ceil_mode=True, return_indices=True)
        aux = self.aux(q)
        c = self.c(F.max_unpool2d(q, j, 2, 2, output_size=b.shape[2:]))
        d = self.d(F.max_unpool2d(c, i, 2, 2, output_size=a.shape[2:]))
        seg, depth, normals = (head(d) for head in self.heads)
        return {
            "relu": seg,
            "image": depth.sigmoid(),
            "normals": normals,
            "aux": [aux, (aux.softmax(1), i)],
            "again": seg,
            "epoch": 3,
        }


OUTPUTS = ("relu", "image_output", "normals", "aux_0", "aux_1_0")
"""The names of the outputs of a file of SeveralOutputs."""
