"""COCO's run-length codes of label maps, and a JSON document that COCO's tools read.

The code is that of cocoapi's maskApi.c: the lengths of runs of 0 and 1 in turn, column by column,
from 0 on; each from the fourth on as its difference from the one before the last; in groups of 5
bits, the lowest first, as characters from "0" on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segnet_deploy.results.run_lengths import find_runs
from segnet_deploy.schemas import head
from segnet_deploy.types import Array, Frame

if TYPE_CHECKING:
    from segnet_deploy.results.result import Result


def encode_labels(labels: Frame) -> dict[int, dict[str, Any]]:
    """Return COCO's RLE of the mask of each label that occurs in (H, W) uint8 `labels`.

    >>> encode_labels(np.array([[3, 3, 0], [3, 0, 0]], np.uint8))
    {0: {'size': [2, 3], 'counts': '33'}, 3: {'size': [2, 3], 'counts': '033'}}
    """
    values, lengths = find_runs(labels.T)
    ends = lengths.cumsum()
    size = [int(labels.shape[0]), int(labels.shape[1])]
    codes = {}
    for label in np.unique(values):
        of_label = values == label
        bounds = np.stack([ends[of_label] - lengths[of_label], ends[of_label]], axis=1).ravel()
        counts = np.diff(bounds, prepend=0, append=labels.size)
        if not counts[-1]:
            counts = counts[:-1]
        codes[int(label)] = {"size": size, "counts": _to_text(counts)}
    return codes


def to_annotations(result: Result, image_id: int, first_id: int) -> Iterator[dict[str, Any]]:
    """Yield a COCO annotation per class in the frame; their ids count on from `first_id`."""
    for number, (label, code) in enumerate(encode_labels(result.labels).items()):
        mask = result.labels == label
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        left, top = int(columns[0]), int(rows[0])
        yield {
            "id": first_id + number,
            "image_id": image_id,
            "category_id": label,
            "segmentation": code,
            "area": int(mask.sum()),
            "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
            "iscrowd": 1,  # COCO's mark of an area that is not one object, coded by run lengths
        }


class CocoDocument:
    """Collects results; `to_json` returns them as one COCO document with our `time_ms` and shares.

    `category_id` is the label id, from 0. Ids of images and annotations count from 1.
    """

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories: list[dict[str, Any]] = []

    def add(self, result: Result) -> None:
        """Add a frame. All are expected to have the same classes."""
        if not self._categories:
            self._categories = list(_categories(result))
        number = len(self._images) + 1
        height, width = result.labels.shape
        image: dict[str, Any] = {"id": number, "width": int(width), "height": int(height)}
        image["file_name"] = "" if result.path is None else str(result.path)
        if result.index is not None:
            image["frame"] = result.index
        image["time_ms"] = {k: round(v, 3) for k, v in result.time_ms._asdict().items()}
        image["shares"] = {k: round(v, 6) for k, v in result.shares.items()}
        self._images.append(image)
        self._annotations += to_annotations(result, number, len(self._annotations) + 1)

    def to_json(self) -> str:
        """Return the document."""
        from segnet_deploy import __version__

        document = {
            **head("predictions"),
            "info": {"description": f"segnet-deploy {__version__}"},
            "images": self._images,
            "categories": self._categories,
            "annotations": self._annotations,
        }
        return json.dumps(document) + "\n"


def to_coco(results: Iterable[Result]) -> str:
    """Return a COCO document with the areas of `results`, as JSON.

    It is what `segnet-predict --json` writes; `read_schema("predictions")` describes it.

    >>> with load("segnet.onnx") as segmenter:
    ...     text = to_coco(segmenter("data/images"))
    >>> import json
    >>> [image["file_name"] for image in json.loads(text)["images"]]
    ['data/images/0.png', 'data/images/1.png', 'data/images/2.png']
    """
    document = CocoDocument()
    for result in results:
        document.add(result)
    return document.to_json()


def _categories(result: Result) -> Iterator[dict[str, Any]]:
    rows: Sequence[Any] = list(zip(result.classes, result.palette, strict=True))
    for number, (name, colour) in enumerate(rows):
        yield {"id": number, "name": name, "supercategory": "", "color": list(colour)}


def _to_text(counts: Array) -> str:
    """Return the characters of COCO's code for run lengths, (R,) int64."""
    left = counts.copy()
    left[3:] -= counts[1:-2]
    groups, goes_on = [], np.ones(len(left), bool)
    used = []
    while goes_on.any():
        used.append(goes_on)
        bits = left & 31
        left = left >> 5
        goes_on = goes_on & np.where(bits & 16, left != -1, left != 0)
        groups.append(48 + bits + np.where(goes_on, 32, 0))
    characters = np.stack(groups, axis=1).astype(np.uint8)[np.stack(used, axis=1)]
    return bytes(characters).decode("ascii")
