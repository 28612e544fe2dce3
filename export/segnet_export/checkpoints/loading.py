"""Load a checkpoint: as our SegNet with its weights, or into a given module."""

from __future__ import annotations

import os
from dataclasses import replace

from torch import Tensor, nn

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.progress import Progress, silent
from segnet_export.checkpoints.building import LoadedCheckpoint, build_basic, build_segnet
from segnet_export.checkpoints.layout import find_layout
from segnet_export.checkpoints.parametrisations import fold_parametrisations
from segnet_export.checkpoints.reading import (
    RawCheckpoint,
    describe_use,
    read_checkpoint,
    strip_prefixes,
)
from segnet_export.checkpoints.saved_layers import (
    batch_norm_eps,
    pool_geometry,
    refuse_other_layers,
)
from segnet_export.checkpoints.tensor_checks import check_tensors

GEOMETRIES = ("ceil", "floor")


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
    normalisations. `unsafe` imports and calls what the file names, which runs code from it. `key`
    chooses the weights of a file with several networks, such as 'student' or 'state_dict_ema'.
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
    tensors = check_tensors(path, raw.tensors)
    try:
        loaded = _build(
            raw, fold_parametrisations(tensors), geometry, relu_before_bn, assume_segnet
        )
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{path}: {error}") from error
    left_out = (*loaded.left_out, *raw.left_out)
    use = describe_use(len(raw.tensors) - len(loaded.left_out), left_out)
    loaded = replace(loaded, notes=(*loaded.notes, *raw.notes, use), left_out=left_out)
    if num_classes is not None and num_classes != loaded.num_classes:
        raise InputError(
            f"--num-classes {num_classes}, but {path} has {loaded.num_classes} classes; "
            "omit the option or give the right checkpoint"
        )
    return loaded


def _build(
    raw: RawCheckpoint,
    tensors: dict[str, Tensor],
    geometry: str | None,
    relu_before_bn: bool | None,
    assume_segnet: bool,
) -> LoadedCheckpoint:
    loaded = build_basic(tensors, geometry)
    if loaded is not None:
        return loaded
    layout = find_layout(tensors, raw.ordered, assume_segnet)
    refuse_other_layers(raw, layout.family)
    geometry = geometry or pool_geometry(raw, layout.family)
    return build_segnet(layout, geometry, relu_before_bn, batch_norm_eps(raw, layout.family))


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
    them; tensors without the prefix are left out and reported. `unsafe` and
    `key` are those of load_checkpoint; `name` is what errors call the module (default: its class).
    Raises InputError, or UnsupportedModelError for an unknown parametrisation.

    >>> import torch
    >>> from segnet_export import create, load_weights
    >>> trained, network = create("unet", 4, width=2, seed=1), create("unet", 4, width=2)
    >>> torch.save({"epoch": 9, "state_dict": trained.state_dict()}, "unet.pt")
    >>> load_weights(network, "unet.pt")
    >>> torch.equal(network.classifier.weight, trained.classifier.weight)
    True
    """
    wanted = module.state_dict().keys()
    raw = strip_prefixes(read_checkpoint(path, unsafe, key), wanted)
    tensors = check_tensors(path, raw.tensors)
    if not tensors.keys() >= wanted:
        tensors = fold_parametrisations(tensors)
    for note in (*raw.notes, describe_use(len(raw.tensors), raw.left_out)):
        progress(f"note: {note}")
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} does not fit {name or type(module).__name__}: {reason[:300]}"
        ) from error
