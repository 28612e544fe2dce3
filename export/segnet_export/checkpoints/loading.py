"""Load a checkpoint: as our SegNet with its weights, or into a given module."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.progress import Progress, silent
from segnet_export.checkpoints.layout import Layout, Unit, find_layout, is_transposed
from segnet_export.checkpoints.reading import read_checkpoint, strip_prefixes
from segnet_export.models import SegNet, SegNetBasic, SegNetConfig

GEOMETRIES = ("ceil", "floor")


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network in evaluation mode, and its properties; returned by `load_checkpoint`.

    `family` names the code base whose layer names were recognised; `width` is the first stage's
    channels and `convolutions` their number. `geometry` is 'ceil' (Caffe) or 'floor' (PyTorch).
    Height and width must be multiples of `multiple`, in px (1: any size). `notes` are assumptions
    and differences that the user should know. `str()` returns one line for the user.

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
    key: str | None = None,
    assume_segnet: bool = False,
) -> LoadedCheckpoint:
    """Load a SegNet checkpoint of any known family: .pt, .pth, .safetensors or TorchScript.

    `num_classes` is compared with the file. `geometry` ('ceil' or 'floor') and `relu_before_bn`
    set what the names do not determine; None: the family's default, and the statistics of the
    normalisations. `unsafe` unpickles objects, which runs code from the file. `key` chooses the
    weights of a file with several networks, such as 'student' or 'state_dict_ema'.
    `assume_segnet`: names of no known family are those of a SegNet, in the file's order.

    Raises InputError for an unusable file, UnsupportedModelError if it is not a SegNet, and
    MissingDependencyError if a library that reads it is not installed.

    >>> import torch
    >>> from segnet_export import SegNet, SegNetConfig, load_checkpoint
    >>> network = SegNet(SegNetConfig.standard(5, width=2))
    >>> torch.save(network.state_dict(), "model.pt")
    >>> print(load_checkpoint("model.pt"))
    family segnet-deploy: 5 classes, 3 input channels, width 2, 26 convolutions, ceil pooling
    """
    if geometry not in (None, *GEOMETRIES):
        raise InputError(f"geometry {geometry!r}; expected {' or '.join(GEOMETRIES)}")
    raw = strip_prefixes(read_checkpoint(path, unsafe, key))
    tensors = {n: v.float() if v.is_floating_point() else v for n, v in raw.tensors.items()}
    try:
        loaded = _load_basic(tensors, geometry)
        if loaded is None:
            layout = find_layout(tensors, raw.ordered, assume_segnet)
            loaded = _load_segnet(layout, geometry, relu_before_bn)
        loaded = replace(loaded, notes=(*loaded.notes, *raw.notes))
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{path}: {error}") from error
    if num_classes is not None and num_classes != loaded.num_classes:
        raise InputError(
            f"--num-classes {num_classes}, but {path} has {loaded.num_classes} classes; "
            "omit the option or give the right checkpoint"
        )
    return loaded


def load_weights(
    module: nn.Module,
    path: str | os.PathLike[str],
    *,
    unsafe: bool = False,
    key: str | None = None,
    name: str = "",
    progress: Progress = silent,
) -> None:
    """Load the checkpoint at `path` into `module`, whose names and shapes must be the file's.

    Wrappers and prefixes of training scripts are removed if the module's own names do not have
    them; tensors without the prefix are left out and reported. `unsafe` unpickles objects, which
    runs code from the file; `key` is that of load_checkpoint; `name` is what errors call the
    module (default: its class). Raises InputError.

    >>> import torch
    >>> from segnet_export import create, load_weights
    >>> trained, network = create("unet", 4, width=2, seed=1), create("unet", 4, width=2)
    >>> torch.save({"epoch": 9, "state_dict": trained.state_dict()}, "unet.pt")
    >>> load_weights(network, "unet.pt")
    >>> torch.equal(network.classifier.weight, trained.classifier.weight)
    True
    """
    raw = strip_prefixes(read_checkpoint(path, unsafe, key), module.state_dict().keys())
    for note in raw.notes:
        progress(f"note: {note}")
    try:
        module.load_state_dict(raw.tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} does not fit {name or type(module).__name__}: {reason[:300]}"
        ) from error


def _load_segnet(
    layout: Layout, geometry: str | None, relu_before_bn: bool | None
) -> LoadedCheckpoint:
    family, notes = layout.family, list(layout.family.notes)
    if relu_before_bn is None:
        relu_before_bn = _means_are_nonnegative(layout)
        if relu_before_bn:
            notes.append(
                "no running mean is negative, so ReLU comes before BN (as in "
                "nshaud/DeepNetsForEO); --bn-order bn-relu overrides this"
            )
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
        _config(layout), ceil_mode=ceil_mode, keep_size=keep_size, relu_before_bn=relu_before_bn
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
    )


def _load_basic(tensors: dict[str, Tensor], geometry: str | None) -> LoadedCheckpoint | None:
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


def _means_are_nonnegative(layout: Layout) -> bool:
    """Return whether BN normalised the output of ReLU: no running mean is negative."""
    means = [unit.bn["running_mean"] for unit in layout.units if unit.bn is not None]
    everything = torch.cat(means) if means else torch.zeros(1)
    return bool((everything >= 0).all() and (everything > 0).any())
