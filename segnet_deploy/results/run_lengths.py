"""Run-length coding of label maps: for JSON lines and for the pictures of the web page."""

from __future__ import annotations

from typing import Any

import numpy as np

from segnet_deploy.errors import InputError
from segnet_deploy.types import Frame, Size


def find_runs(
    labels: Frame, split_rows: bool = False
) -> tuple[Frame, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return label, (R,) uint8, and length, (R,) int64, of each run of equal labels, row by row.

    `labels` is (H, W) uint8, not empty. With `split_rows` no run continues in the next row.
    """
    flat = labels.ravel()
    is_start = np.empty(flat.size, bool)
    is_start[0] = True
    np.not_equal(flat[1:], flat[:-1], out=is_start[1:])
    if split_rows:
        is_start[:: labels.shape[1]] = True
    starts = np.flatnonzero(is_start)
    return flat[starts], np.diff(starts, append=flat.size)


def labels_to_runs(labels: Frame) -> list[int]:
    """Return (H, W) uint8 labels as [label, length, label, length, ...], row by row.

    >>> labels_to_runs(np.array([[0, 0, 7], [7, 7, 0]], np.uint8))
    [0, 2, 7, 3, 0, 1]
    """
    pairs: list[int] = np.stack(find_runs(labels), axis=1).ravel().tolist()
    return pairs


def labels_from_runs(runs: list[int], size: Size) -> Frame:
    """Return the (H, W) uint8 labels of `runs`, as `labels_to_runs` writes them.

    >>> labels_from_runs([0, 2, 7, 3, 0, 1], (2, 3)).tolist()
    [[0, 0, 7], [7, 7, 0]]

    Raises InputError if their lengths do not add up to `size`.
    """
    if len(runs) % 2 or sum(runs[1::2]) != size[0] * size[1]:
        raise InputError(f"runs of {sum(runs[1::2])} px; expected {size[0]} x {size[1]}")
    return np.repeat(np.asarray(runs[::2], np.uint8), runs[1::2]).reshape(size)
