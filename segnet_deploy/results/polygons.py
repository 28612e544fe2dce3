"""Outlines of the areas of a label map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segnet_deploy.optional import require
from segnet_deploy.types import Array, Frame


class Polygon(NamedTuple):
    """An area of connected px: the centres of its border px as (K, 2) int32 x and y.

    `outline` is the outer border, and each of `holes` the border px around a hole; they belong to
    the area. Drawn with OpenCV's fillPoly, `outline` covers the area and its holes exactly.
    """

    outline: Array
    holes: tuple[Array, ...] = ()


def find_polygons(labels: Frame, label: int) -> list[Polygon]:
    """Return the areas of `label` in (H, W) uint8 `labels`, connected by edges or corners.

    Raises MissingDependencyError without OpenCV.

    >>> [polygon.outline.tolist() for polygon in find_polygons(np.ones((2, 3), np.uint8), 1)]
    [[[0, 0], [0, 1], [2, 1], [2, 0]]]
    """
    cv2 = require("cv2", extra="camera")
    mask = (labels == label).astype(np.uint8)
    contours, levels = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    polygons = []
    for number, contour in enumerate(contours):
        hole, parent = levels[0, number, 2:]
        if parent >= 0:
            continue
        holes = []
        while hole >= 0:
            holes.append(contours[hole][:, 0])
            hole = levels[0, hole, 0]
        polygons.append(Polygon(contour[:, 0], tuple(holes)))
    return polygons
