"""The networks by name, for `segnet-export --arch` and the paper's tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from segnet_deploy.bench.paper import TITLES
from segnet_deploy.errors import InputError
from segnet_deploy.types import DEFAULT_SIZE, Size
from segnet_export.models.basic import SegNetBasic
from segnet_export.models.basic_variants import FCNBasic
from segnet_export.models.deconvnet import DeconvNet, pooled_size
from segnet_export.models.deeplab import DeepLabLargeFOV
from segnet_export.models.fcn import FCN
from segnet_export.models.segnet import SegNet, SegNetConfig
from segnet_export.models.unet import UNet


@dataclass(frozen=True)
class Architecture:
    """A network by name; ARCHITECTURES has one for each.

    `build(num_classes, width, size)` returns the untrained module; `size` is the (height, width)
    in px at which the paper times it.

    >>> from segnet_export import ARCHITECTURES
    >>> ARCHITECTURES["fcn-8s"].title, ARCHITECTURES["fcn-8s"].size
    ('FCN (learnt deconv)', (360, 480))
    """

    name: str
    build: Callable[[int, int, Size], nn.Module]
    size: Size = DEFAULT_SIZE

    @property
    def title(self) -> str:
        """The network's name in the paper."""
        return TITLES[self.name]


def _segnet(num_classes: int, width: int, _: Size) -> nn.Module:
    return SegNet(SegNetConfig.standard(num_classes, width))


def _fcn(stride: int, num_classes: int, width: int, _: Size) -> nn.Module:
    return FCN(num_classes, width=width, stride=stride)


def _deeplab(num_classes: int, width: int, _: Size) -> nn.Module:
    return DeepLabLargeFOV(num_classes, width=width)


def _deconvnet(num_classes: int, width: int, size: Size) -> nn.Module:
    return DeconvNet(num_classes, width=width, fc_channels=16 * width, kernel=pooled_size(size))


def _deconvnet_original(num_classes: int, width: int, size: Size) -> nn.Module:
    height, width_px = pooled_size(size)
    if min(height, width_px) < 7:
        raise InputError(
            f"size {size[0]}x{size[1]} is {height}x{width_px} at DeconvNet's 7x7 layer; expected a "
            "height and width of 193 px or more, such as 224x224"
        )
    return DeconvNet(num_classes, width=width, fc_channels=64 * width, kernel=(7, 7))


def _unet(num_classes: int, width: int, _: Size) -> nn.Module:
    return UNet(num_classes, width=width)


def _basic(
    num_classes: int,
    width: int,
    _: Size,
    encoder_addition: bool = False,
    single_channel: bool = False,
) -> nn.Module:
    return SegNetBasic(
        num_classes, width=width, encoder_addition=encoder_addition, single_channel=single_channel
    )


def _fcn_basic(
    num_classes: int,
    width: int,
    _: Size,
    upsampling: str = "learnt",
    addition: bool = True,
    reduction: bool = True,
) -> nn.Module:
    return FCNBasic(
        num_classes, width=width, upsampling=upsampling, addition=addition, reduction=reduction
    )


_ALL = (
    Architecture("segnet", _segnet),
    Architecture("fcn-8s", partial(_fcn, 8)),
    Architecture("fcn-32s", partial(_fcn, 32)),
    Architecture("deeplab-largefov", _deeplab),
    Architecture("deconvnet", _deconvnet),
    Architecture("deconvnet-original", _deconvnet_original, (224, 224)),
    Architecture("unet", _unet),
    Architecture("segnet-basic", _basic),
    Architecture("segnet-basic-encoder-addition", partial(_basic, encoder_addition=True)),
    Architecture("segnet-basic-single-channel-decoder", partial(_basic, single_channel=True)),
    Architecture(
        "bilinear-interpolation", partial(_fcn_basic, upsampling="bilinear", addition=False)
    ),
    Architecture("fcn-basic", _fcn_basic),
    Architecture("fcn-basic-no-addition", partial(_fcn_basic, addition=False)),
    Architecture("fcn-basic-no-dim-reduction", partial(_fcn_basic, reduction=False)),
    Architecture(
        "fcn-basic-no-addition-no-dim-reduction",
        partial(_fcn_basic, addition=False, reduction=False),
    ),
)
ARCHITECTURES = {architecture.name: architecture for architecture in _ALL}
"""Every network that `create` and `segnet-export --arch` accept, by name."""


def create(
    name: str,
    num_classes: int,
    *,
    width: int = 64,
    size: Size | None = None,
    seed: int | None = 0,
) -> nn.Module:
    """Return the network `name` in evaluation mode, with random weights from `seed`.

    `width` is the first stage's channels (64 in every paper); `size` is the image's (height,
    width) in px, which only DeconvNet depends on. `seed` None: PyTorch's default initialisation.
    Raises InputError for a name that is not in ARCHITECTURES.

    >>> import torch
    >>> from segnet_export import create
    >>> create("fcn-basic", 4, width=2)(torch.zeros(1, 3, 32, 48)).shape
    torch.Size([1, 4, 32, 48])
    """
    if name not in ARCHITECTURES:
        raise InputError(f"unknown network {name!r}; expected one of {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[name]
    module = architecture.build(num_classes, width, size or architecture.size)
    if seed is not None:
        initialise(module, seed)
    return module.eval()


def initialise(module: nn.Module, seed: int) -> None:
    """Draw weights that keep the magnitude of activations (He et al., 2015), in place.

    An upsampling deconvolution with as many outputs as inputs starts as bilinear interpolation.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        elif layer.stride[0] > 1 and layer.in_channels == layer.out_channels:
            _bilinear(layer.weight, layer.stride[0])
        else:
            # An output sums every channel, at as many positions as kernels overlap.
            positions = 1 if max(layer.kernel_size) > 3 else layer.weight[0, 0].numel()
            positions = positions // (layer.stride[0] * layer.stride[1]) or 1
            std = (2 / (layer.in_channels * positions)) ** 0.5
            nn.init.normal_(layer.weight, std=std, generator=generator)


def _bilinear(weight: Tensor, stride: int) -> None:
    """Fill (C, C, k, k) with bilinear interpolation of each channel."""
    kernel = weight.shape[-1]
    ramp = 1 - (torch.arange(kernel) - (kernel - 1) / 2).abs() / ((kernel + 1) // 2)
    ramp *= stride / ramp.sum()
    with torch.no_grad():
        weight.zero_()
        channels = torch.arange(weight.shape[0])
        weight[channels, channels] = ramp[:, None] * ramp[None, :]
