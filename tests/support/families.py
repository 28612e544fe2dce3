"""The SegNets of other projects: each family's layer names and forward pass, at small widths.

Written from the projects' published facts, independently of the loader that they test.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

W = 4
WIDTHS = (W, 2 * W, 4 * W, 8 * W, 8 * W)
COUNTS = (2, 2, 3, 3, 3)
K = 5


def encoder_convs(
    cin: int = 3, counts: tuple[int, ...] = COUNTS
) -> list[tuple[int, int, int, int]]:
    """Return (stage, position, in, out) in execution order; stages and positions count from 1."""
    found = []
    for stage, (width, count) in enumerate(zip(WIDTHS, counts, strict=True), start=1):
        for position in range(1, count + 1):
            found.append((stage, position, cin, width))
            cin = width
    return found


def decoder_convs(last: int = K) -> list[tuple[int, int, int, int]]:
    """Return (stage, position, in, out) in execution order: stage 5 first, position down."""
    found = []
    for stage in range(5, 0, -1):
        width = WIDTHS[stage - 1]
        narrower = WIDTHS[stage - 2] if stage > 1 else last
        for position in range(COUNTS[stage - 1], 0, -1):
            found.append((stage, position, width, narrower if position == 1 else width))
    return found


def conv(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=1)


def pool(x: Tensor, ceil_mode: bool = False) -> tuple[Tensor, Tensor]:
    return F.max_pool2d(x, 2, 2, ceil_mode=ceil_mode, return_indices=True)


def unpool(x: Tensor, index: Tensor, size: Any = None) -> Tensor:
    return F.max_unpool2d(
        x, index, [2, 2], [2, 2], output_size=None if size is None else list(size)
    )


class Named(nn.Module):
    """Layers whose names are made of stage and position: shared by five families."""

    ceil_mode = False
    keeps_size = True
    last_without_size = False
    relu_first = False

    def __init__(self) -> None:
        super().__init__()
        for s, p, cin, cout in encoder_convs():
            self.put(self.name("e", s, p), conv(cin, cout))
            self.put(self.bn_name("e", s, p), nn.BatchNorm2d(cout))
        for s, p, cin, cout in decoder_convs():
            self.put(self.name("d", s, p), conv(cin, cout))
            if (s, p) != (1, 1) or self.classifier_bn():
                self.put(self.bn_name("d", s, p), nn.BatchNorm2d(cout))

    def put(self, name: str, module: nn.Module) -> None:
        owner: nn.Module = self
        *path, last = name.split(".")
        for part in path:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = getattr(owner, part)
        owner.add_module(last, module)

    def name(self, side: str, s: int, p: int) -> str:
        raise NotImplementedError

    def bn_name(self, side: str, s: int, p: int) -> str:
        raise NotImplementedError

    def classifier_bn(self) -> bool:
        return False

    def layer(self, x: Tensor, side: str, s: int, p: int) -> Tensor:
        x = self.get_submodule(self.name(side, s, p))(x)
        bn = self.get_submodule(self.bn_name(side, s, p))
        return bn(F.relu(x)) if self.relu_first else F.relu(bn(x))  # type: ignore[no-any-return]

    def last(self, x: Tensor) -> Any:
        return self.get_submodule(self.name("d", 1, 1))(x)

    def forward(self, x: Tensor) -> Any:
        kept = []
        for s, count in enumerate(COUNTS, start=1):
            for p in range(1, count + 1):
                x = self.layer(x, "e", s, p)
            size = x.shape[-2:]
            x, index = pool(x, self.ceil_mode)
            kept.append((index, size))
        for s in range(5, 0, -1):
            index, size = kept.pop()
            bare = not self.keeps_size or (s == 1 and self.last_without_size)
            x = unpool(x, index, None if bare else size)
            for p in range(COUNTS[s - 1], 0, -1):
                x = self.last(x) if (s, p) == (1, 1) else self.layer(x, "d", s, p)
        return x


class Semseg(Named):
    """meetps/pytorch-semseg: positions count up in the decoder, the classifier has BN, ReLU."""

    def name(self, side: str, s: int, p: int) -> str:
        up = COUNTS[s - 1] + 1 - p
        place = f"down{s}.conv{p}" if side == "e" else f"up{s}.conv{up}"
        return f"{place}.cbr_unit.0"

    def bn_name(self, side: str, s: int, p: int) -> str:
        return self.name(side, s, p)[:-1] + "1"

    def classifier_bn(self) -> bool:
        return True

    def last(self, x: Tensor) -> Any:
        return self.layer(x, "d", 1, 1)


class Say4n(Named):
    """say4n/pytorch-segnet: transposed convolutions, counted from 0, and a VGG16 as well."""

    def __init__(self) -> None:
        super().__init__()
        for s, p, cin, cout in decoder_convs():
            self.put(self.name("d", s, p), nn.ConvTranspose2d(cin, cout, 3, padding=1))
        self.vgg16 = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))

    def name(self, side: str, s: int, p: int) -> str:
        kind = "encoder_conv" if side == "e" else "decoder_convtr"
        return f"{kind}_{s - 1}{p - 1}.0"

    def bn_name(self, side: str, s: int, p: int) -> str:
        return self.name(side, s, p)[:-1] + "1"

    def last(self, x: Tensor) -> Any:
        logits = super().last(x)
        return logits, F.softmax(logits, 1)


class Vince(Named):
    """vinceecws/SegNet_PyTorch: an unused last BN, softmax, no size for the last unpooling."""

    last_without_size = True

    def name(self, side: str, s: int, p: int) -> str:
        return f"Conv{'En' if side == 'e' else 'De'}{s}{p}"

    def bn_name(self, side: str, s: int, p: int) -> str:
        return self.name(side, s, p).replace("Conv", "BN")

    def classifier_bn(self) -> bool:
        return True

    def last(self, x: Tensor) -> Any:
        return F.softmax(super().last(x), 1)


class Delta(Named):
    """delta-onera, DenseFusion: unpooling without sizes."""

    keeps_size = False

    def name(self, side: str, s: int, p: int) -> str:
        return f"conv{s}{p}{'d' if side == 'd' else ''}"

    def bn_name(self, side: str, s: int, p: int) -> str:
        return self.name(side, s, p).replace("conv", "bn")


class CaffeNames(Named):
    """Caffe's names: ceil pooling, sizes restored."""

    ceil_mode = True

    def name(self, side: str, s: int, p: int) -> str:
        return f"conv{s}_{p}{'_D' if side == 'd' else ''}"

    def bn_name(self, side: str, s: int, p: int) -> str:
        return self.name(side, s, p) + "_bn"


class Nshaud(CaffeNames):
    """nshaud/DeepNetsForEO: Caffe's names, ReLU before BN, floor, no sizes, log-softmax."""

    ceil_mode = False
    keeps_size = False
    relu_first = True

    def last(self, x: Tensor) -> Any:
        return F.log_softmax(super().last(x), 1)


class Bayesian(CaffeNames):
    """27 convolutions: conv1_1_D keeps its width with BN and ReLU, then `camvid`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_1_D = conv(W, W)
        self.conv1_1_D_bn = nn.BatchNorm2d(W)
        self.camvid = conv(W, K)

    def last(self, x: Tensor) -> Any:
        return self.camvid(F.relu(self.conv1_1_D_bn(self.conv1_1_D(x))))


def block(*widths: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for cin, cout in itertools.pairwise(widths):
        layers += [conv(cin, cout), nn.BatchNorm2d(cout), nn.ReLU()]
    return layers


class Yassouali(nn.Module):
    """yassouali/pytorch-segmentation: one Sequential per stage, 27 convolutions, tied layers."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        a, b, c, d, e = WIDTHS
        enc = [(3, a, a), (a, b, b), (b, c, c, c), (c, d, d, d), (d, e, e, e)]
        dec = [(e, e, e, d), (d, d, d, c), (c, c, c, b), (b, b, a), (a, a, a)]
        for s, widths in enumerate(enc, start=1):
            self.add_module(f"stage{s}_encoder", nn.Sequential(*block(*widths)))
        for s, widths in enumerate(dec, start=1):
            layers = block(*widths)
            if s == 5:
                layers.append(conv(a, K))
            self.add_module(f"stage{s}_decoder", nn.Sequential(*layers))
        if tied:  # the first decoder layers are objects of the encoder
            first = self.get_submodule("stage1_decoder")
            last = self.get_submodule("stage5_encoder")
            first[0], first[1] = last[6], last[7]  # type: ignore[index,operator]

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for s in range(1, 6):
            x = self.get_submodule(f"stage{s}_encoder")(x)
            size = x.shape
            x, index = pool(x)
            kept.append((index, size[-2:]))
        for s in range(1, 6):
            x = self.get_submodule(f"stage{s}_decoder")(unpool(x, *kept.pop()))
        return x


class Trypag(nn.Module):
    """trypag/pytorch-unet-segnet: its '3-conv' blocks have 2; dropout between; 1 input channel."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = WIDTHS
        enc = [(1, a, a), (a, b, b), (b, c, c), (c, d, d), (d, e, e)]
        dec = [(e, e, d), (d, d, c), (c, c, b), (b, b, a), (a, a)]
        self.encoders = nn.ModuleList(self.stage(w, drop=i > 1) for i, w in enumerate(enc))
        self.decoders = nn.ModuleList(self.stage(w, drop=i < 3) for i, w in enumerate(dec))
        self.classifier = conv(a, K)

    @staticmethod
    def stage(widths: tuple[int, ...], drop: bool) -> nn.Module:
        stage = nn.Module()
        stage.features = nn.Sequential(*block(*widths), *([nn.Dropout(0.5)] if drop else []))
        return stage

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for stage in self.encoders:
            x = stage.features(x)  # type: ignore[operator,union-attr]
            size = x.shape[-2:]
            x, index = pool(x)
            kept.append((index, size))
        for stage in self.decoders:
            x = stage.features(unpool(x, *kept.pop()))  # type: ignore[operator,union-attr]
        return self.classifier(x)  # type: ignore[no-any-return]


class Piwise(nn.Module):
    """bodokaiser/piwise: VGG16 without BN as `dec`, a narrow decoder as `enc`."""

    def __init__(self) -> None:
        super().__init__()
        number, cin = 0, 3
        for s, (width, count) in enumerate(zip(WIDTHS, COUNTS, strict=True), start=1):
            stage = nn.Sequential()
            for _ in range(count):
                stage.add_module(str(number), conv(cin, width))
                stage.add_module(str(number + 1), nn.ReLU())
                number, cin = number + 2, width
            number += 1  # VGG's pool
            self.add_module(f"dec{s}", stage)
        a, b, c, d, e = WIDTHS
        shapes = {5: (e, e // 2, e // 2, d), 4: (d, d // 2, d // 2, c), 3: (c, c // 2, c // 2, b)}
        shapes[2] = (b, b // 2, a)
        for s, widths in shapes.items():
            stage2 = nn.Module()
            stage2.encode = nn.Sequential(*block(*widths))
            self.add_module(f"enc{s}", stage2)
        self.final = nn.Sequential(conv(a, K), nn.BatchNorm2d(K), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for s in range(1, 6):
            x = self.get_submodule(f"dec{s}")(x)
            size = x.shape[-2:]
            x, index = pool(x)
            kept.append((index, size))
        for s in range(5, 1, -1):
            x = self.get_submodule(f"enc{s}.encode")(unpool(x, *kept.pop()))
        return self.final(unpool(x, *kept.pop()))  # type: ignore[no-any-return]


def build(kind: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Build with weights and statistics that look trained, in evaluation mode."""
    torch.manual_seed(seed)
    net = kind().eval()
    with torch.no_grad():
        relu_first = getattr(net, "relu_first", False)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                mean = torch.randn(module.num_features) * 0.3
                module.running_mean.copy_(mean.abs() if relu_first else mean)  # type: ignore[union-attr]
                module.running_var.uniform_(0.3, 1.5)  # type: ignore[union-attr]
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return net


# name: (class, family as printed, a supported (height, width), input channels)
FAMILIES: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, int], int]] = {
    "semseg": (Semseg, "meetps/pytorch-semseg", (45, 53), 3),
    "say4n": (Say4n, "say4n/pytorch-segnet", (45, 53), 3),
    "vinceecws": (Vince, "vinceecws/SegNet_PyTorch", (46, 54), 3),
    "delta-onera": (Delta, "delta-onera / DenseFusion", (32, 64), 3),
    "caffe": (CaffeNames, "Caffe names", (45, 53), 3),
    "nshaud": (Nshaud, "Caffe names", (32, 64), 3),
    "bayesian": (Bayesian, "Caffe names", (45, 53), 3),
    "yassouali": (Yassouali, "yassouali/pytorch-segmentation", (45, 53), 3),
    "trypag": (Trypag, "trypag/pytorch-unet-segnet", (45, 53), 1),
    "piwise": (Piwise, "bodokaiser/piwise", (45, 53), 3),
}
