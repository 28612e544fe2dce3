"""From a checkpoint's layout to our SegNet with its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from segnet_deploy.errors import UnsupportedModelError
from segnet_export.checkpoints.bn_order import relu_is_first
from segnet_export.checkpoints.layout import Layout, Unit, is_transposed
from segnet_export.models import SegNet, SegNetBasic, SegNetConfig


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network in evaluation mode, and its properties; returned by `load_checkpoint`.

    `family` names the code base whose layer names were recognised; `width` is the first stage's
    channels and `convolutions` their number. `geometry` is 'ceil' (Caffe) or 'floor' (PyTorch).
    Height and width must be multiples of `multiple`, in px (1: any size). `notes` are assumptions
    and differences that the user should know. `left_out` names tensors of the file that the
    network does not use. `str()` returns one line for the user.

    >>> from segnet_export import LoadedCheckpoint, SegNetBasic
    >>> print(LoadedCheckpoint(SegNetBasic(4), "SegNet-Basic", 4, 3, 64, 9, "ceil"))
    family SegNet-Basic: 4 classes, 3 input channels, width 64, 9 convolutions, ceil pooling
    """

    model: nn.Module
    family: str
    num_classes: int
    in_channels: int
    width: int
    convolutions: int
    geometry: str
    multiple: int = 1
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"family {self.family}: {self.num_classes} classes, {self.in_channels} input "
            f"channels, width {self.width}, {self.convolutions} convolutions, "
            f"{self.geometry} pooling"
        )


def build_segnet(
    layout: Layout, geometry: str | None, relu_before_bn: bool | None, eps: float
) -> LoadedCheckpoint:
    """Return the network of `layout`; None: what the family or the statistics suggest.

    `eps` is that of the normalisations. Raises UnsupportedModelError.
    """
    family, notes = layout.family, list(layout.family.notes)
    if relu_before_bn is None:
        relu_before_bn, reason = relu_is_first(layout)
        notes.append(reason)
    family_ceil = family.ceil_mode and not relu_before_bn
    ceil_mode = family_ceil if geometry is None else geometry == "ceil"
    if family.name == "Caffe names" and geometry is None:
        notes.append(
            "the names do not determine the pooling geometry: "
            f"{'ceil' if ceil_mode else 'floor'} is assumed; --geometry overrides this"
        )
    keep_size = ceil_mode or (family.keep_size and not (relu_before_bn and family.ceil_mode))
    stages = len(layout.encoder)
    if not keep_size:
        notes.append(f"it unpools without output_size: sizes must be multiples of {2**stages}")
    config = replace(
        _config(layout),
        ceil_mode=ceil_mode,
        keep_size=keep_size,
        relu_before_bn=relu_before_bn,
        eps=eps,
    )
    model = SegNet(config)
    _copy_weights(model, layout)
    model.eval()
    return LoadedCheckpoint(
        model,
        family.name,
        config.num_classes,
        config.in_channels,
        config.encoder[0][0],
        len(model.units) + 1,
        "ceil" if ceil_mode else "floor",
        1 if keep_size else 2**stages,
        tuple(notes),
        layout.left_out,
    )


def build_basic(tensors: dict[str, Tensor], geometry: str | None) -> LoadedCheckpoint | None:
    """Load one of our SegNet-Basic checkpoints, recognised by 7x7 encoders; None: it is not one."""
    first = tensors.get("encoder.0.0.weight")
    if first is None or first.shape[2:] != (7, 7) or "classifier.weight" not in tensors:
        return None
    ceil_mode = geometry != "floor"
    classes = tensors["classifier.weight"].shape[0]
    width, in_channels = first.shape[:2]
    model = SegNetBasic(classes, in_channels=in_channels, width=width, ceil_mode=ceil_mode)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UnsupportedModelError(f"not a SegNet-Basic: {error}") from error
    model.eval()
    return LoadedCheckpoint(
        model,
        "SegNet-Basic",
        classes,
        in_channels,
        width,
        9,
        "ceil" if ceil_mode else "floor",
    )


def _config(layout: Layout) -> SegNetConfig:
    first = layout.encoder[0][0].conv["weight"]
    classifier = _weight(layout.classifier)
    return SegNetConfig(
        classifier.shape[0],
        first.shape[1],
        tuple(tuple(_weight(u).shape[0] for u in stage) for stage in layout.encoder),
        tuple(tuple(_weight(u).shape[0] for u in stage) for stage in layout.decoder),
        classifier_bn_relu=layout.family.classifier_bn and layout.classifier.bn is not None,
        encoder_bn=layout.encoder[0][0].bn is not None,
        classifier_kernel=classifier.shape[2],
    )


def _copy_weights(model: SegNet, layout: Layout) -> None:
    with torch.no_grad():
        for target, source in zip(model.units, layout.units, strict=True):
            _copy_conv(target.conv, source)  # type: ignore[arg-type]  # ModuleList is untyped
            _copy_bn(target.bn, source)  # type: ignore[arg-type]
        _copy_conv(model.classifier, layout.classifier)
        if model.config.classifier_bn_relu:
            _copy_bn(model.classifier_bn, layout.classifier)


def _copy_conv(target: nn.Conv2d, source: Unit) -> None:
    target.weight.copy_(_weight(source))
    assert target.bias is not None
    bias = source.conv.get("bias")
    target.bias.zero_() if bias is None else target.bias.copy_(bias)


def _copy_bn(target: nn.Module, source: Unit) -> None:
    if isinstance(target, nn.Identity) and source.bn is None:
        return
    if not isinstance(target, nn.BatchNorm2d) or source.bn is None:
        raise UnsupportedModelError(
            f"'{source.name}' {'lacks' if source.bn is None else 'has'} batch normalisation, "
            "unlike the other layers of its side"
        )
    assert target.running_mean is not None
    assert target.running_var is not None
    target.running_mean.copy_(source.bn["running_mean"])
    target.running_var.copy_(source.bn["running_var"])
    if "weight" in source.bn:  # absent with affine=False
        target.weight.copy_(source.bn["weight"])
        target.bias.copy_(source.bn["bias"])


def _weight(unit: Unit) -> Tensor:
    """Return (out, in, kh, kw); a transposed convolution of stride 1 is a flipped one."""
    weight = unit.conv["weight"]
    return weight.transpose(0, 1).flip(2, 3) if is_transposed(unit) else weight
