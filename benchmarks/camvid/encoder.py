"""Start a network's encoder from VGG16's weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from segnet_deploy.errors import InputError


def load_encoder(module: nn.Module, state: Mapping[str, Tensor], order: str = "rgb") -> int:
    """Copy VGG16's convolutions and batch normalisations in execution order; return their number.

    `state` has torchvision's layout (vgg16 or vgg16_bn) or that of any other VGG16; layers after
    the 13 convolutions are ignored. `order` is the channel order that its first layer reads
    ('rgb': torchvision's, 'bgr': Caffe's); `module` reads BGR. Raises InputError if the shapes
    differ from those of `module`.
    """
    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d)][:13]
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)][:13]
    names = [key[:-7] for key, value in state.items() if value.ndim == 4][: len(layers)]
    if len(names) < len(layers):
        raise InputError(f"the encoder's file has {len(names)} convolutions; expected 13")
    for name, layer in zip(names, layers, strict=True):
        weight = state[f"{name}.weight"]
        if weight.shape != layer.weight.shape:
            raise InputError(
                f"{name}.weight of the encoder's file is {tuple(weight.shape)}; expected "
                f"{tuple(layer.weight.shape)}: is it VGG16, and --width 64?"
            )
        flip = order == "rgb" and layer is layers[0]
        layer.weight.data.copy_(weight.flip(1) if flip else weight)
        if layer.bias is not None and f"{name}.bias" in state:
            layer.bias.data.copy_(state[f"{name}.bias"])
    means = [key[:-13] for key in state if key.endswith(".running_mean")]
    for name, norm in zip(means, norms, strict=False):
        for part in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, part).data.copy_(state[f"{name}.{part}"])
    return len(layers)
