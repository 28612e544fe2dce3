"""Small networks that the package contains, by name: `load("demo")`.

They were trained by this project on street scenes that it draws itself (segnet_deploy.scenes), with
CamVid's 11 classes: for trying everything out, not for real streets. The program that made them is
benchmarks/demo/pretrained.py.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segnet_deploy.errors import InputError
from segnet_deploy.types import Size

HERE = Path(__file__).parent
RECORD = "segnet.pretrained"
"""The entry of a file's metadata with what `PretrainedNet` says about it."""


@dataclass(frozen=True)
class PretrainedNet:
    """A network of the package: its file, its input's (height, width) in px, what it is.

    `mean_iou`, 0 to 1, was measured on 50 drawn scenes that the training did not use.
    """

    name: str
    path: Path
    size: Size
    about: str
    mean_iou: float
    licence: str


def list_pretrained() -> tuple[PretrainedNet, ...]:
    """Return the networks that `load` and the commands know by name.

    >>> [(net.name, net.size, net.licence) for net in list_pretrained()]
    [('demo', (180, 240), 'Apache-2.0'), ('street', (360, 480), 'Apache-2.0')]
    """
    return tuple(_describe(HERE / f"{name}.onnx") for name in pretrained_names())


def pretrained_names() -> list[str]:
    """Return the names of the networks, sorted."""
    return sorted(path.stem for path in HERE.glob("*.onnx"))


def find_file(path: str | os.PathLike[str]) -> Path:
    """Return `path`, or the file of a network if `path` is its name and there is no such file.

    Raises InputError for a name (no suffix and no folder) that is neither a network nor a file.
    """
    given = Path(path)
    if given.is_file() or len(given.parts) != 1 or given.suffix or "://" in str(path):
        return given
    names = pretrained_names()
    if given.name in names:
        return HERE / f"{given.name}.onnx"
    if given.exists():  # a folder: whoever opens it says what is wrong
        return given
    raise InputError(
        f"no such file: {path}; expected an ONNX file from segnet-export, or a pretrained network: "
        + ", ".join(names)
    )


def _describe(path: Path) -> PretrainedNet:
    import onnx

    model = onnx.load(path)
    record: dict[str, Any] = {p.key: p.value for p in model.metadata_props}
    facts = json.loads(record[RECORD])
    height, width = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[2:])
    return PretrainedNet(
        path.stem, path, (height, width), facts["about"], facts["mean_iou"], facts["licence"]
    )
