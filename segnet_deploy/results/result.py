"""The result of one segmented frame."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segnet_deploy.classes import Colour
from segnet_deploy.errors import InputError
from segnet_deploy.files import atomic_write
from segnet_deploy.frames import IMAGE_SUFFIXES, encode_image, encode_png
from segnet_deploy.overlay import colorize, legend, overlay, with_legend
from segnet_deploy.results.coco import encode_labels, to_coco
from segnet_deploy.results.polygons import Polygon, find_polygons
from segnet_deploy.types import Array, Frame

_MAIN_CLASSES = 4


class Times(NamedTuple):
    """Milliseconds of one frame: `pre`, fitting and normalising; `infer`; `post`, to labels."""

    pre: float
    infer: float
    post: float

    @property
    def total(self) -> float:
        """From frame to labels."""
        return sum(self)


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A frame with its labels. Its arrays may be kept.

    `frame` is (H, W, 3) uint8 BGR, `labels` (H, W) uint8 class ids of `classes`, `palette` RGB.
    `path` is the file that the frame came from, or None; `index`, from 0, its number in a video or
    in a series of frames, or None. `uncertainty` is (H, W) float32 if the model's file samples its
    dropout, else None.

    >>> import numpy as np
    >>> with load("segnet.onnx") as segmenter:
    ...     result = segmenter(np.zeros((90, 120, 3), np.uint8))
    >>> result.labels.shape, result.overlay().shape
    ((90, 120), (90, 120, 3))
    >>> round(sum(result.shares.values()), 6), sorted(result.time_ms._asdict())
    (1.0, ['infer', 'post', 'pre'])
    """

    frame: Frame
    labels: Frame
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    time_ms: Times
    path: Path | None = None
    index: int | None = None
    uncertainty: Array | None = None

    @property
    def shares(self) -> dict[str, float]:
        """The share of px of each class that occurs, 0 to 1, the largest first."""
        counts = np.bincount(self.labels.ravel())
        order = np.argsort(-counts, kind="stable").tolist()
        return {
            self._name(label): float(counts[label]) / self.labels.size
            for label in order
            if counts[label]
        }

    def overlay(self, alpha: float = 0.5, with_names: bool = False) -> Frame:
        """Return the frame with the classes' colours over it, (H, W, 3) uint8 BGR.

        `alpha` 0 shows the frame, 1 the colours; `with_names` adds the legend at the right.
        """
        picture = overlay(self.frame, self.labels, self.palette, alpha)
        return with_legend(picture, self.classes, self.palette) if with_names else picture

    def colorize(self) -> Frame:
        """Return the labels in the classes' colours, (H, W, 3) uint8 BGR."""
        return colorize(self.labels, self.palette)

    def legend(self) -> Frame:
        """Return a picture of the classes' names next to their colours, uint8 BGR."""
        return legend(self.classes, self.palette)

    def save(self, path: str | os.PathLike[str], alpha: float = 0.5) -> None:
        """Write the overlay with its legend, or the JSON of `to_json` if `path` ends in .json.

        Raises InputError for another suffix than those of images, or if it cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            atomic_write(path, self.to_json().encode())
        elif suffix in IMAGE_SUFFIXES:
            atomic_write(path, encode_image(self.overlay(alpha, with_names=True), suffix))
        else:
            raise InputError(f"cannot write {path}: expected a name in .png, .jpg or .json")

    def save_labels(self, path: str | os.PathLike[str]) -> None:
        """Write the class ids as a PNG of one channel. Raises InputError."""
        if Path(path).suffix.lower() != ".png":
            raise InputError(f"cannot write labels to {path}: expected a name in .png")
        atomic_write(path, encode_png(self.labels))

    def to_rle(self) -> dict[str, dict[str, Any]]:
        """Return the mask of each class that occurs as COCO's RLE: {"size": [H, W], "counts": ...}.

        `pycocotools.mask.decode` returns the mask.
        """
        return {self._name(label): code for label, code in encode_labels(self.labels).items()}

    def to_polygons(self) -> dict[str, list[Polygon]]:
        """Return the areas of each class that occurs as polygons with holes, in px.

        Raises MissingDependencyError without OpenCV.
        """
        present = np.unique(self.labels).tolist()
        return {self._name(label): find_polygons(self.labels, label) for label in present}

    def to_json(self) -> str:
        """Return a COCO document with this image, as `segnet-predict --save-json` writes it."""
        return to_coco([self])

    def describe(self) -> str:
        """Return size, main classes and time, such as '360x480: Road 41 %, Sky 20 %, 7.9 ms'."""
        return describe(self.labels.shape, self.shares, self.time_ms.total)

    def _name(self, label: int) -> str:
        """Return the name of a class, with its id if another class has the same."""
        name = self.classes[label] if label < len(self.classes) else f"class_{label}"
        return name if self.classes.count(name) < 2 else f"{name} ({label})"

    def _repr_png_(self) -> bytes:
        """Show the overlay where a notebook shows the result."""
        return encode_png(self.overlay(with_names=True))

    def __repr__(self) -> str:
        origin = "" if self.path is None else f"{self.path.name} "
        number = "" if self.index is None else f"frame {self.index} "
        return f"<Result {origin}{number}{self.describe()}>"


def describe(size: tuple[int, ...], shares: dict[str, float], milliseconds: float) -> str:
    """Return the line of `Result.describe`; `shares` with the largest first."""
    main = [f"{name} {share:.0%}".replace("%", " %") for name, share in shares.items()]
    if len(main) > _MAIN_CLASSES:
        main[_MAIN_CLASSES:] = ["..."]
    return f"{size[0]}x{size[1]}: {', '.join(main)}, {milliseconds:.1f} ms"
