"""Fit frames to the model's input size, and restore label maps and other outputs to the frame's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segnet_deploy.errors import InputError
from segnet_deploy.optional import require
from segnet_deploy.types import FITS, Array, Frame, Size


@dataclass(frozen=True)
class Placement:
    """The position of a frame in the model's input: `source` and scaled `size`, (height, width)."""

    source: Size
    top: int
    left: int
    size: Size


def place(source: Size, target: Size, fit: str) -> Placement:
    """Return the placement of a frame of size `source` in an input of size `target`.

    `fit` 'stretch' fills the input; 'letterbox' keeps the aspect ratio and centres the frame.
    Raises InputError for another `fit`.
    """
    if fit not in FITS:
        raise InputError(f"fit {fit!r}; expected {' or '.join(FITS)}")
    if fit == "stretch" or source == target:
        return Placement(source, 0, 0, target)
    scale = min(target[0] / source[0], target[1] / source[1])
    height = min(target[0], max(1, round(source[0] * scale)))
    width = min(target[1], max(1, round(source[1] * scale)))
    return Placement(source, (target[0] - height) // 2, (target[1] - width) // 2, (height, width))


def fit_frame(frame: Frame, target: Size, placement: Placement, border: Sequence[int]) -> Frame:
    """Return `frame` resized (bilinear) into an input of size `target` with a BGR `border`."""
    if frame.shape[:2] != placement.size:
        cv2 = require("cv2", extra="camera")
        size = (placement.size[1], placement.size[0])
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    if placement.size == target:
        return frame
    fitted = np.empty((*target, 3), np.uint8)
    fitted[:] = np.asarray(border, np.uint8)
    bottom, right = placement.top + placement.size[0], placement.left + placement.size[1]
    fitted[placement.top : bottom, placement.left : right] = frame
    return fitted


def restore_labels(labels: Frame, placement: Placement) -> Frame:
    """Crop the frame's part of the model's labels and resize it (nearest) to the source size."""
    bottom, right = placement.top + placement.size[0], placement.left + placement.size[1]
    part = np.ascontiguousarray(labels[placement.top : bottom, placement.left : right])
    if placement.size == placement.source:
        return part
    cv2 = require("cv2", extra="camera")
    size = (placement.source[1], placement.source[0])
    restored: Frame = cv2.resize(part, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return restored


def restore_values(values: Array, placement: Placement) -> Array:
    """Do the same with every plane of `values`, (..., H, W) of the model's size and any type."""
    planes = values.reshape(-1, *values.shape[-2:])
    restored = np.stack([restore_labels(plane, placement) for plane in planes])
    return restored.reshape(*values.shape[:-2], *placement.source)


def check_frame(frame: Any) -> None:
    """Raise InputError unless `frame` is (H, W, 3) uint8."""
    fits = isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3
    if not fits or frame.dtype != np.uint8 or frame.size == 0:
        have = f"{getattr(frame, 'shape', type(frame))} {getattr(frame, 'dtype', '')}"
        raise InputError(f"frame is {have.strip()}; expected (H, W, 3) uint8 in BGR order")
