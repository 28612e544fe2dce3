"""`--arch NAME`: a network of the paper, with a checkpoint's weights or with drawn ones."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from segnet_deploy.errors import InputError
from segnet_export.models import ARCHITECTURES, create

CLASSES = 11


def load_named(
    name: str,
    num_classes: int | None,
    size: tuple[int, int] | None = None,
    path: Path | None = None,
    unsafe: bool = False,
) -> nn.Module:
    """Build the network `name` for (height, width) `size`; fill it from `path` if there is one.

    Raises InputError for an unknown name, or weights that are another network's.
    """
    classes = CLASSES if num_classes is None else num_classes
    module = create(name, classes, size=size, seed=0 if path is None else None)
    if path is not None:
        from segnet_export.checkpoints.read import read

        try:
            module.load_state_dict(read(path, unsafe).tensors)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path} does not fit --arch {name} with {classes} classes: {reason[:300]}"
            ) from error
    return module


def size_of(name: str) -> tuple[int, int] | None:
    """Return the (height, width) that the network `name` is timed at, or None."""
    return ARCHITECTURES[name].size if name in ARCHITECTURES else None
