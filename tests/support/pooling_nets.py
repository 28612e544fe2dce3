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


class TwoDecoders(nn.Module):
    """One encoder whose two pools serve a decoder per task, and one of them twice in a decoder.

    `calls` 2 runs the pools again for the second decoder, as nets do that call an encoder twice.
    """

    def __init__(self, calls: int = 1, ceil_mode: bool = True):
        super().__init__()
        self.calls, self.ceil_mode = calls, ceil_mode
        self.a, self.b, self.shared = conv(3, 6), conv(6, 8), conv(8, 8)
        self.decoders = nn.ModuleList(
            nn.ModuleList([conv(8, 6), conv(6, 6), nn.Conv2d(6, k, 1)]) for k in (4, 2)
        )
        self.again = conv(6, 6)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = x / 64 - 2
        encoded = [self.encode(x) for _ in range(self.calls)]
        outputs = [self.decode(number, encoded[number % self.calls]) for number in range(2)]
        return {"seg": outputs[0], "depth": outputs[1]}

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        a = self.a(x)
        p, i = F.max_pool2d(a, 2, 2, ceil_mode=self.ceil_mode, return_indices=True)
        b = self.b(p)
        q, j = F.max_pool2d(b, 2, 2, ceil_mode=self.ceil_mode, return_indices=True)
        return a, i, b, j, q

    def decode(self, number: int, encoded: tuple[Tensor, ...]) -> Tensor:
        a, i, b, j, q = encoded
        first, second, head = self.decoders[number]
        c = first(F.max_unpool2d(self.shared(q), j, 2, 2, output_size=b.shape[2:]))
        d = second(F.max_unpool2d(c, i, 2, 2, output_size=a.shape[2:]))
        if number == 0:
            d = d + F.max_unpool2d(self.again(c), i, 2, 2, output_size=a.shape[2:])
        return head(d)  # type: ignore[no-any-return]


class TwoStreams(nn.Module):
    """Two encoders of the same shape, each unpooled with its own indices, into one sum."""

    def __init__(self, ceil_mode: bool = True) -> None:
        super().__init__()
        self.ceil_mode = ceil_mode
        self.streams = nn.ModuleList(conv(3, 6) for _ in range(2))
        self.inside = nn.ModuleList(conv(6, 6) for _ in range(2))
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(())
        for stream, inside in zip(self.streams, self.inside, strict=True):
            a = stream(x / 64 - 2)
            y, index = F.max_pool2d(a, 2, 2, ceil_mode=self.ceil_mode, return_indices=True)
            total = total + F.max_unpool2d(inside(y), index, 2, 2, output_size=a.shape[2:])
        return self.head(total)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """A multi-task attention SegNet: a shared net with five pairs, and attention for each task.

    The attention modules pool the shared feature maps again and ignore those indices.
    """

    def __init__(self, width: int = 8, classes: int = 13):
        super().__init__()
        widths = [width] * 5
        self.encoder = nn.ModuleList(map(conv, [3, *widths[1:]], widths))
        self.second = nn.ModuleList(map(conv, widths, widths))
        self.decoder = nn.ModuleList(map(conv, widths, widths))
        self.last = nn.ModuleList(map(conv, widths, widths))
        self.tasks = nn.ModuleList(AttentionTask(width, outputs) for outputs in (classes, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        encoded, decoded, indices = [], [], []
        for first, second in zip(self.encoder, self.second, strict=True):
            u = first(x)
            v = second(u)
            x, index = F.max_pool2d(v, 2, 2, return_indices=True)
            encoded.append((u, v))
            indices.append((index, v.shape[2:]))
        for first, second in zip(self.decoder, self.last, strict=True):
            index, size = indices.pop()
            u = F.max_unpool2d(x, index, 2, 2, output_size=size)
            x = second(first(u))
            decoded.append((u, x))
        seg, depth = (task(encoded, decoded) for task in self.tasks)
        return [F.log_softmax(seg, dim=1), depth]


def steep_attention() -> nn.Module:
    """Return an Attention whose masks are steep, so that rounding grows from stage to stage."""
    net = Attention()
    seeded(net)
    for task in net.tasks:
        for layer in (*task.down, *task.up):
            layer[2].weight.data *= 64
    return net


class AttentionTask(nn.Module):
    """The attention of one task: masks from the shared features, down and up again."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.down = nn.ModuleList(
            mask(width if level == 0 else 2 * width, width) for level in range(5)
        )
        self.up = nn.ModuleList(mask(2 * width, width) for _ in range(5))
        self.block, self.grow = conv(width, width), conv(width, width)
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, encoded: list[Any], decoded: list[Any]) -> Tensor:
        x: Tensor | None = None
        for (u, v), layer in zip(encoded, self.down, strict=True):
            y = self.block(layer(u if x is None else torch.cat([u, x], 1)) * v)
            x, _ = F.max_pool2d(y, 2, 2, return_indices=True)
        for (u, v), layer in zip(decoded, self.up, strict=True):
            y = F.interpolate(x, size=u.shape[2:], mode="bilinear", align_corners=True)
            x = layer(torch.cat([u, self.grow(y)], 1)) * v
        return self.head(x)  # type: ignore[no-any-return]


def mask(inputs: int, width: int) -> nn.Sequential:
    """Return the layers of an attention mask of `width` channels."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.Sigmoid()
    )


class SmallENet(nn.Module):
    """A net of ENet's parts: strided first block, concatenation, dilated and asymmetric layers.

    Its branches are unpooled after a projection, and transposed convolutions grow the others.
    """

    def __init__(self, classes: int = 5):
        super().__init__()
        self.first, self.pool = nn.Conv2d(3, 5, 3, 2, 1), nn.MaxPool2d(2, 2)
        self.down1, self.down2 = Down(8, 12), Down(12, 16)
        self.middle = nn.ModuleList(
            [
                nn.Conv2d(16, 16, 3, padding=2, dilation=2),
                nn.Sequential(
                    nn.Conv2d(16, 16, (5, 1), padding=(2, 0)),
                    nn.Conv2d(16, 16, (1, 5), padding=(0, 2)),
                ),
            ]
        )
        self.up2, self.up1 = Up(16, 12), Up(12, 8)
        self.last = nn.ConvTranspose2d(8, classes, 3, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        size0 = x.shape[2:]
        x = x / 64 - 2
        pooled = F.max_pool2d(x, 2, 2, ceil_mode=True)
        a = F.relu(torch.cat([self.first(x), pooled], 1))
        b, i = self.down1(a)
        c, j = self.down2(b)
        for layer in self.middle:
            c = F.relu(c + layer(c))
        d = self.up2(c, j, b.shape[2:])
        e = self.up1(d, i, a.shape[2:])
        return self.last(e, output_size=size0)  # type: ignore[no-any-return]


class Down(nn.Module):
    """Halve the size: a pool with indices, padded with zero channels, and a strided branch."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.extra = outputs - inputs
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, 4, 2, 2, bias=False), nn.PReLU(), nn.Conv2d(4, outputs, 1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        main, index = F.max_pool2d(x, 2, 2, return_indices=True)
        zeros = torch.zeros(len(x), self.extra, main.shape[2], main.shape[3])
        return F.relu(torch.cat([main, zeros], 1) + self.branch(x)), index


class Up(nn.Module):
    """Double the size: a projection that is unpooled, and a transposed convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.project = nn.Conv2d(inputs, outputs, 1)
        self.reduce, self.grow = nn.Conv2d(inputs, 4, 1), nn.ConvTranspose2d(4, 4, 2, 2)
        self.expand = nn.Conv2d(4, outputs, 1)

    def forward(self, x: Tensor, index: Tensor, size: torch.Size) -> Tensor:
        main = F.max_unpool2d(self.project(x), index, 2, 2, output_size=size)
        branch = self.expand(F.relu(self.grow(F.relu(self.reduce(x)), output_size=size)))
        return F.relu(main + branch)


class Windows(nn.Module):
    """A 2x2 pair in ceil mode, and inside it pairs with windows of other sizes or options."""

    def __init__(self, *kernels: Any, **options: Any):
        super().__init__()
        self.kernels, self.options = kernels, options
        self.a, self.h = conv(3, 6), nn.Conv2d(6, 4, 1)
        self.inside = nn.ModuleList(conv(6, 6) for _ in range(2 * len(kernels) + 1))

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x / 64 - 2)
        x, index = F.max_pool2d(a, 2, 2, ceil_mode=True, return_indices=True)
        saved = []
        layers = iter(self.inside)
        for kernel in self.kernels:
            x = next(layers)(x)
            size = x.shape[2:]
            x, inner = F.max_pool2d(x, kernel, return_indices=True, **self.options)
            saved.append((kernel, inner, size))
        for kernel, inner, size in reversed(saved):
            x = next(layers)(x)
            stride, padding = self.options.get("stride"), self.options.get("padding", 0)
            x = F.max_unpool2d(x, inner, kernel, stride, padding, output_size=size)
        x = next(layers)(x)
        return self.h(F.max_unpool2d(x, index, 2, 2, output_size=a.shape[2:]))  # type: ignore[no-any-return]
