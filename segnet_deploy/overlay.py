"""Draw label maps: colours, overlays and legends. Images are (H, W, 3) uint8 BGR, palettes RGB."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segnet_deploy.classes import Colour
from segnet_deploy.errors import InputError
from segnet_deploy.optional import require
from segnet_deploy.types import Array, Frame

_HEAT_AT = (0, 64, 128, 192, 255)
_HEAT_BGR = ((0, 80, 50, 40, 255), (0, 0, 40, 170, 255), (0, 90, 220, 255, 255))
_ROW_PX = 18
_FONT_SCALE = 0.42


def colorize(labels: Frame, palette: Sequence[Colour]) -> Frame:
    """Return the image of (H, W) uint8 labels; ids beyond the palette become black.

    >>> colorize(np.array([[0, 1, 2]], np.uint8), [(255, 0, 0), (0, 255, 0)]).tolist()
    [[[0, 0, 255], [0, 255, 0], [0, 0, 0]]]
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = np.asarray(palette, np.uint8).reshape(-1, 3)[:256, ::-1]
    picture: Frame = np.take(table, labels, axis=0)  # four times faster than table[labels]
    return picture


def overlay(frame: Frame, labels: Frame, palette: Sequence[Colour], alpha: float = 0.5) -> Frame:
    """Blend the colours of `labels`, (H, W) uint8, over `frame`.

    `alpha` 0 shows the frame, 1 the colours. Raises InputError if the sizes differ,
    MissingDependencyError without OpenCV.
    """
    if frame.shape[:2] != labels.shape:
        raise InputError(f"labels of shape {labels.shape}; expected the frame's {frame.shape[:2]}")
    cv2 = require("cv2", extra="camera")
    blended: Frame = cv2.addWeighted(frame, 1 - alpha, colorize(labels, palette), alpha, 0)
    return blended


def heat_map(uncertainty: Array, classes: int) -> Frame:
    """Return the image of an (H, W) uncertainty: black where it is 0, through red, to white.

    >>> heat_map(np.array([[0, 0.25]]), 2).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    table = np.stack([np.interp(np.arange(256), _HEAT_AT, channel) for channel in _HEAT_BGR], 1)
    levels = heat_levels(uncertainty, classes)
    picture: Frame = np.take(np.rint(table).astype(np.uint8), levels, axis=0)
    return picture


def heat_levels(uncertainty: Array, classes: int) -> Frame:
    """Return the levels of a heat map, (H, W) uint8.

    The scale is fixed: the square root of the variance, as a share of the largest that `classes`
    classes can have. So pictures of one network compare with one another.
    """
    largest = (1 - 1 / classes) / classes
    share = np.sqrt(np.clip(uncertainty / largest, 0, 1))
    levels: Frame = np.rint(255 * share).astype(np.uint8)
    return levels


def legend(classes: Sequence[str], palette: Sequence[Colour], height: int | None = None) -> Frame:
    """Draw class names next to their colours on white, in columns of at most `height` px."""
    cv2 = require("cv2", extra="camera")
    rows = len(classes) if height is None else max(1, height // _ROW_PX)
    columns = [range(i, min(i + rows, len(classes))) for i in range(0, len(classes), rows)]
    font = cv2.FONT_HERSHEY_SIMPLEX
    strips = []
    for ids in columns:
        widths = [cv2.getTextSize(classes[i], font, _FONT_SCALE, 1)[0][0] for i in ids]
        strip = np.full(
            (max(rows * _ROW_PX, height or 0), round(max(widths) * 1.1) + 32, 3), 255, np.uint8
        )
        for row, i in enumerate(ids):
            top = row * _ROW_PX
            strip[top + 3 : top + _ROW_PX - 3, 4:20] = palette[i][::-1]
            origin = (25, top + _ROW_PX - 5)
            cv2.putText(strip, classes[i], origin, font, _FONT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
        strips.append(strip)
    return np.hstack(strips) if strips else np.full((height or 1, 1, 3), 255, np.uint8)


def with_legend(image: Frame, classes: Sequence[str], palette: Sequence[Colour]) -> Frame:
    """Add the legend to the right of `image`; a low image is padded with white below."""
    side = legend(classes, palette, image.shape[0])
    if side.shape[0] > image.shape[0]:
        rest = np.full((side.shape[0] - image.shape[0], image.shape[1], 3), 255, np.uint8)
        image = np.vstack([image, rest])
    return np.hstack([image, side])
