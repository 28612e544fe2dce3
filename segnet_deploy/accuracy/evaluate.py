"""Accuracy of a segmenter on labelled frames, alone or compared with another."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from segnet_deploy.accuracy.calibration import Calibration
from segnet_deploy.accuracy.datasets import Example
from segnet_deploy.accuracy.index_flips import IndexFlips
from segnet_deploy.accuracy.metrics import VOID, Accuracy, Counts, boundary_f1, confusion
from segnet_deploy.errors import InputError, UnreadableInputError
from segnet_deploy.passes.sampling_names import CONFIDENCE, UNCERTAINTY
from segnet_deploy.progress import Progress, silent, track
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Frame

FIGURES = ("global_accuracy", "class_average", "mean_iou", "boundary_f1")
CLASS_LIMIT = 0.02  # a class that loses more IoU than this is named


def evaluate(
    segmenter: Segmenter,
    examples: Sequence[Example],
    boundary: bool = True,
    other: Segmenter | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Return the accuracy of `segmenter` on labelled frames, as JSON values.

    The figures are global_accuracy, class_average, mean_iou and boundary_f1 (if `boundary`), each
    0 to 1, `classes` with iou and recall by name, `confusion`, and `frames` with the mean_iou of
    each; for a file that samples its dropout also those of Calibration. `unreadable` says which
    images or label files could not be read, and are not in the figures. With `other`, `against` has
    the same of that segmenter, and `agreement` the share of equal labels. A figure without pixels
    to measure is NaN.

    Raises InputError if labels and frames do not fit, the class counts differ, or nothing is
    readable.

    >>> examples = find_examples("data")
    >>> with load("segnet.onnx") as segmenter:
    ...     result = evaluate(segmenter, examples)
    >>> 0 <= result["mean_iou"] <= 1
    True
    """
    names = segmenter.metadata.classes
    _check_classes(segmenter, other)
    segmenters = [segmenter] if other is None else [segmenter, other]
    sums = [np.zeros((len(names),) * 2, np.int64) for _ in segmenters]
    boundaries: list[list[float]] = [[] for _ in segmenters]
    calibrations = [Calibration(len(names)) for _ in segmenters]
    frames, same = [], []
    unreadable: list[str] = []
    for example, frame, truth in _pairs(examples, len(names), unreadable, progress):
        maps = [_segment(*one, frame, truth) for one in zip(segmenters, calibrations, strict=True)]
        for i, labels in enumerate(maps):
            counts = confusion(truth, labels, len(names))
            sums[i] += counts
            if i == 0:
                frames.append({"image": example.image.name, "mean_iou": Accuracy(counts).mean_iou})
            if boundary:
                boundaries[i].append(boundary_f1(truth, labels, len(names)))
        if other is not None:
            same.append(float((maps[0] == maps[1]).mean()))
    results = [
        _figures(names, *all_of) for all_of in zip(sums, boundaries, calibrations, strict=True)
    ]
    agreement = {} if other is None else {"against": results[1], "agreement": float(np.mean(same))}
    return {**results[0], "frames": frames, "unreadable": unreadable, **agreement}


def count_flips(
    files: tuple[str, str],
    segmenters: tuple[Segmenter, Segmenter],
    examples: Sequence[Example],
    threads: int | None = None,
    progress: Progress = silent,
) -> list[dict[str, int]]:
    """Return, by pooling stage, the `flips` (indices that differ) and the `windows` of two files.

    Both files run once more for that. Raises InputError for an engine, whose indices cannot be
    read, and for files with other pools.
    """
    with IndexFlips(files, segmenters, threads) as counted:
        for example in track(examples, "comparing indices", progress):
            with contextlib.suppress(UnreadableInputError):  # `evaluate` reports it
                counted.add(example.frame())
        pairs = zip(counted.flips, counted.windows, strict=True)
        return [{"flips": flips, "windows": windows} for flips, windows in pairs]


def class_changes(result: dict[str, Any]) -> dict[str, float]:
    """Return the change of each class's IoU from the other file; `result` must have one."""
    other = result["against"]["classes"]
    return {name: row["iou"] - other[name]["iou"] for name, row in result["classes"].items()}


def class_losses(result: dict[str, Any]) -> list[str]:
    """Name the classes that lose more than CLASS_LIMIT of IoU against the other file."""
    if result.get("against") is None:
        return []
    return [
        f"{name} loses {-100 * change:.2f} points of IoU"
        for name, change in class_changes(result).items()
        if change < -CLASS_LIMIT
    ]


def _check_classes(segmenter: Segmenter, other: Segmenter | None) -> None:
    if other is None or len(segmenter.metadata.classes) == len(other.metadata.classes):
        return
    raise InputError(
        f"{len(segmenter.metadata.classes)} classes against {len(other.metadata.classes)}; "
        "expected two files of one network"
    )


def _segment(segmenter: Segmenter, calibration: Calibration, frame: Frame, truth: Frame) -> Frame:
    """Return the labels of a frame; add its uncertainty, if the file has it, to `calibration`."""
    if not segmenter.has_uncertainty:
        return segmenter.segment(frame)
    labels, maps = segmenter.segment_with_maps(frame)
    if labels.shape == truth.shape:
        calibration.add(truth, labels, maps[UNCERTAINTY], maps[CONFIDENCE])
    return labels


def _pairs(
    examples: Sequence[Example], classes: int, unreadable: list[str], progress: Progress
) -> Iterator[tuple[Example, Frame, Frame]]:
    """Yield each example, its frame and its labels; append to `unreadable` why one is left out.

    Raises InputError at the end for two classes whose labels were 0 and VOID only.
    """
    seen = set[int]()
    for example in track(examples, "evaluating", progress):
        try:
            frame, truth = example.pair(classes)
        except UnreadableInputError as error:
            unreadable.append(str(error))
            progress(f"error: {error}")
        else:
            seen |= {label for label in (1, VOID) if classes == 2 and (truth == label).any()}
            yield example, frame, truth
    if seen == {VOID}:
        raise InputError(
            f"the labels are 0 and {VOID} only, but {VOID} means unlabelled; write 1 instead of it"
        )
    if examples and len(unreadable) == len(examples):
        raise InputError(f"none of the {len(examples)} frames can be read: {unreadable[0]}")


def _figures(
    names: Sequence[str], counts: Counts, boundaries: Sequence[float], calibration: Calibration
) -> dict[str, Any]:
    accuracy = Accuracy(counts)
    recall, iou = accuracy.recall, accuracy.iou
    known = [score for score in boundaries if not math.isnan(score)]
    return {
        "global_accuracy": accuracy.global_accuracy,
        "class_average": accuracy.class_average,
        "mean_iou": accuracy.mean_iou,
        "boundary_f1": float(np.mean(known)) if known else float("nan"),
        "classes": {
            name: {"iou": float(iou[i]), "recall": float(recall[i])} for i, name in enumerate(names)
        },
        "confusion": counts.tolist(),
        **(calibration.figures() if calibration.pixels else {}),
    }
