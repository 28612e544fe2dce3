"""load_checkpoint: a file of any known family -> our SegNet with its weights."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_export.checkpoints.layout import Layout, Unit, find_layout, is_transposed
from segnet_export.checkpoints.read import read
from segnet_export.models import SegNet, SegNetBasic, SegNetConfig

GEOMETRIES = ("ceil", "floor")


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network in evaluation mode, and what was found out about it.

    `geometry` is 'ceil' (Caffe) or 'floor' (PyTorch); `multiple` is what height and width
    must be multiples of (1: any size); `notes` say what the user should know.
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

    def __str__(self) -> str:
        return (
            f"family {self.family}: {self.num_classes} classes, {self.in_channels} input "
            f"channels, width {self.width}, {self.convolutions} convolutions, "
            f"{self.geometry} pooling"
        )


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    num_classes: int | None = None,
    geometry: str | None = None,
    relu_before_bn: bool | None = None,
    unsafe: bool = False,
) -> LoadedCheckpoint:
    """Read a SegNet checkpoint of any known family.

    `num_classes` is only checked. `geometry` ('ceil'|'floor') and `relu_before_bn` say
    what names cannot tell; by default the family's habit and the statistics decide.
    `unsafe` executes what a pickled file says. Raises InputError for an unusable file and
    UnsupportedModelError for one that is not a SegNet.
    """
    if geometry not in (None, *GEOMETRIES):
        raise InputError(f"geometry {geometry!r}; expected {' or '.join(GEOMETRIES)}")
    raw = read(path, unsafe)
    tensors = {name: _float(value) for name, value in raw.tensors.items()}
    if (basic := _basic(tensors, geometry)) is not None:
        loaded = basic
    else:
        try:
            layout = find_layout(tensors, raw.ordered)
            loaded = _build(layout, geometry, relu_before_bn)
        except UnsupportedModelError as error:
            raise UnsupportedModelError(f"{path}: {error}") from error
    if num_classes is not None and num_classes != loaded.num_classes:
        raise InputError(
            f"--num-classes {num_classes}, but {path} has {loaded.num_classes} classes; "
            "leave the option out or give the right checkpoint"
        )
    return loaded


def _build(layout: Layout, geometry: str | None, relu_before_bn: bool | None) -> LoadedCheckpoint:
    family, notes = layout.family, list(layout.family.notes)
    if relu_before_bn is None:
        relu_before_bn = _bn_saw_relu(layout)
        if relu_before_bn:
            notes.append(
                "no running mean is negative, so ReLU comes before BN (as in "
                "nshaud/DeepNetsForEO); --bn-order bn-relu says otherwise"
            )
    caffe = family.ceil_mode and not relu_before_bn
    ceil_mode = caffe if geometry is None else geometry == "ceil"
    if family.name == "Caffe names" and geometry is None:
        notes.append(
            f"names cannot tell the pooling geometry: {'ceil' if ceil_mode else 'floor'} is "
            "assumed, --geometry says otherwise"
        )
    keep_size = ceil_mode or (family.keep_size and not (relu_before_bn and family.ceil_mode))
    config = _config(layout)
    config = replace(
        config, ceil_mode=ceil_mode, keep_size=keep_size, relu_before_bn=relu_before_bn
    )
    model = SegNet(config)
    _fill(model, layout)
    model.eval()
    stages = len(layout.encoder)
    if not keep_size:
        notes.append(f"it unpools without output_size: sizes must be multiples of {2**stages}")
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


def _fill(model: SegNet, layout: Layout) -> None:
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
            "unlike the others of its side"
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


def _bn_saw_relu(layout: Layout) -> bool:
    """Tell whether the running means are those of values that cannot be negative."""
    means = [unit.bn["running_mean"] for unit in layout.units if unit.bn is not None]
    everything = torch.cat(means) if means else torch.zeros(1)
    return bool((everything >= 0).all() and (everything > 0).any())


def _basic(tensors: dict[str, Tensor], geometry: str | None) -> LoadedCheckpoint | None:
    """Read a SegNet-Basic of ours, told by its 7x7 encoders."""
    first = tensors.get("encoder.0.0.weight")
    if first is None or first.shape[2:] != (7, 7) or "classifier.weight" not in tensors:
        return None
    ceil_mode = geometry != "floor"
    classes = tensors["classifier.weight"].shape[0]
    model = SegNetBasic(
        classes, in_channels=first.shape[1], width=first.shape[0], ceil_mode=ceil_mode
    )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UnsupportedModelError(f"not a SegNet-Basic: {error}") from error
    model.eval()
    return LoadedCheckpoint(
        model, "SegNet-Basic", classes, first.shape[1], first.shape[0], 9,
        "ceil" if ceil_mode else "floor",
    )  # fmt: skip


def _float(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
