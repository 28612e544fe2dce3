"""Folders of frames with ground-truth labels: CamVid, SUN RGB-D, or images/ and labels/."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.accuracy import LAYOUTS
from segnet_deploy.accuracy.metrics import VOID
from segnet_deploy.errors import InputError, UnreadableInputError
from segnet_deploy.frames import IMAGE_SUFFIXES, read_image, scan_folder
from segnet_deploy.optional import require
from segnet_deploy.progress import Progress, silent
from segnet_deploy.types import Frame

# CamVid's 32 colours (RGB) by the eleven classes of SegNet's tutorial; the others are void.
CAMVID_COLOURS = {
    0: ((128, 128, 128),),
    1: ((192, 0, 128), (0, 128, 64), (128, 0, 0), (64, 0, 64), (64, 192, 0)),
    2: ((192, 192, 128), (0, 0, 64)),
    3: ((128, 64, 128), (128, 0, 192), (192, 0, 64)),
    4: ((0, 0, 192), (64, 192, 128), (128, 128, 192)),
    5: ((128, 128, 0), (192, 192, 0)),
    6: ((192, 128, 128), (128, 128, 64), (0, 64, 64)),
    7: ((64, 64, 128),),
    8: ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    9: ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),
    10: ((0, 128, 192), (192, 0, 192)),
}
CAMVID_VOID = ((0, 0, 0),)
_CAMVID_IDS, _SUNRGBD_IDS = 11, 37


@dataclass(frozen=True)
class Example:
    """A frame and its label file."""

    image: Path
    labels: Path
    layout: str

    def frame(self) -> Frame:
        """Return (H, W, 3) uint8 BGR. Raises InputError."""
        return read_image(self.image, extra="eval")

    def truth(self, classes: int) -> Frame:
        """Return (H, W) uint8 label ids, VOID for unlabelled pixels. Raises InputError."""
        raw = read_labels(self.labels)
        if self.layout == "camvid":
            return _camvid(raw, self.labels)
        if raw.ndim != 2:
            raise InputError(f"{self.labels} is a colour image; expected a PNG of label ids")
        if self.layout == "sunrgbd":  # 0 is void, 1 to 37 the classes
            _check(raw, _SUNRGBD_IDS + 1, self.labels, void=False)
            return np.asarray(np.where(raw == 0, VOID, raw.astype(np.int16) - 1), np.uint8)
        _check(raw, classes, self.labels)
        return raw

    def pair(self, classes: int) -> tuple[Frame, Frame]:
        """Return frame and ground truth of one size, for `classes` classes. Raises InputError."""
        check_classes(self.layout, classes)
        frame, truth = self.frame(), self.truth(classes)
        if frame.shape[:2] != truth.shape:
            raise InputError(
                f"{self.labels} is {truth.shape}, but its frame is {frame.shape[:2]}; expected "
                "equal sizes"
            )
        return frame, truth


def find_examples(
    folder: str | os.PathLike[str],
    layout: str = "folders",
    split: str | None = None,
    progress: Progress = silent,
) -> list[Example]:
    """Pair images and labels by name; report files that are no images. Raises InputError.

    camvid: `<split>/` and `<split>annot/`, or `images/` and `labels/`, also `<name>_L.png` as
    in the original. folders, sunrgbd: `images/` and `labels/`.

    >>> [example.image.name for example in find_examples("data")]
    ['0.png', '1.png', '2.png']
    """
    folder = Path(folder)
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}; expected {', '.join(LAYOUTS)}")
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    if split and layout != "camvid":
        raise InputError(f"split {split!r}: layout {layout} has no splits; omit --split")
    images, labels = _folders(folder, layout, split)
    found, missing = [], []
    for image in scan_folder(images, IMAGE_SUFFIXES, progress=progress):
        names = [labels / f"{image.stem}{end}" for end in (".png", "_L.png")]
        path = next((name for name in names if name.is_file()), None)
        if path is None:
            missing.append(image.name)
        else:
            found.append(Example(image, path, layout))
    if missing:
        raise InputError(
            f"{len(missing)} images of {images} have no labels in {labels} ({missing[0]}); "
            "expected a PNG of the same name"
        )
    return found


def check_classes(layout: str, count: int) -> None:
    """Raise InputError if a layout's labels do not fit a network of `count` classes."""
    expected = {"camvid": _CAMVID_IDS, "sunrgbd": _SUNRGBD_IDS}.get(layout, count)
    if count != expected:
        raise InputError(
            f"the network has {count} classes, layout {layout} has {expected}; use --layout "
            "folders with labels of the network's own classes"
        )


def read_labels(path: Path) -> Frame:
    """Return ids (H, W), or colours (H, W, 3) RGB, as the file stores them. Raises InputError.

    A palette PNG yields its ids, not its colours.
    """
    image = require("PIL.Image", extra="eval")
    try:
        with image.open(path) as opened:
            opened.load()
            ids = opened.mode in ("L", "P", "1", "I") or opened.mode.startswith("I;16")
            array = np.array(opened if ids else opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableInputError(f"cannot read labels {path}: {error}") from error
    if array.size and array.max() > VOID:
        raise InputError(f"{path} has the id {array.max()}; expected ids of 0 to {VOID}")
    return np.asarray(array, np.uint8)


def _folders(folder: Path, layout: str, split: str | None) -> tuple[Path, Path]:
    pairs = [(folder / "images", folder / "labels")]
    if layout == "camvid":
        names = [split] if split else ["val", "test", "train"]
        pairs = [(folder / n, folder / f"{n}annot") for n in names] + ([] if split else pairs)
    for images, labels in pairs:
        if images.is_dir() and labels.is_dir():
            return images, labels
    wanted = " or ".join(f"{images.name}/ and {labels.name}/" for images, labels in pairs)
    raise InputError(f"{folder} has no data in layout {layout}; expected {wanted} in it")


def _camvid(raw: Frame, path: Path) -> Frame:
    if raw.ndim == 2:
        _check(raw, _CAMVID_IDS + 1, path)
        return np.asarray(np.where(raw < _CAMVID_IDS, raw, VOID), np.uint8)
    table = np.full(1 << 24, -1, np.int16)
    for label, colours in (*CAMVID_COLOURS.items(), (VOID, CAMVID_VOID)):
        for colour in colours:
            table[_packed(np.array(colour))] = label
    ids = table[_packed(raw)]
    if (ids < 0).any():
        row, column = np.argwhere(ids < 0)[0]
        raise InputError(
            f"{path} has the colour {tuple(raw[row, column].tolist())} at row {row}, column "
            f"{column}; expected CamVid's 32 colours"
        )
    return np.asarray(ids, np.uint8)


def _packed(colour: Any) -> Any:
    wide = colour.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _check(raw: Frame, count: int, path: Path, void: bool = True) -> None:
    ids = raw[raw != VOID] if void else raw
    if ids.size and ids.max() >= count:
        expected = f"ids below {count}" + (f", or {VOID}" if void else "")
        raise InputError(f"{path} has the id {ids.max()}; expected {expected}")
