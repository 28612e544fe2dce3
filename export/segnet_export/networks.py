"""`--arch NAME`: a network of the paper, with a checkpoint's weights or with random ones."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from segnet_deploy.progress import Progress, silent
from segnet_deploy.types import Size
from segnet_export.checkpoints import load_weights
from segnet_export.models import ARCHITECTURES, create

CLASSES = 11  # of CamVid


def load_network(
    name: str,
    num_classes: int | None,
    size: Size | None = None,
    path: Path | None = None,
    *,
    unsafe: bool = False,
    key: str | None = None,
    progress: Progress = silent,
) -> nn.Module:
    """Build the network `name` for images of `size`, (height, width) in px.

    `path` is the checkpoint with its weights; None: random weights from seed 0. Raises InputError
    for an unknown name, or for weights of another network.
    """
    classes = CLASSES if num_classes is None else num_classes
    module = create(name, classes, size=size, seed=0 if path is None else None)
    if path is not None:
        called = f"--arch {name} with {classes} classes"
        load_weights(module, path, unsafe=unsafe, key=key, name=called, progress=progress)
    return module


def timed_size(name: str) -> Size | None:
    """Return the (height, width) that the network `name` is timed at, or None if unknown."""
    return ARCHITECTURES[name].size if name in ARCHITECTURES else None
