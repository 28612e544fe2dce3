"""Pictures of an evaluation: the confusion matrix, and the frames with the lowest mIoU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segnet_deploy.accuracy.datasets import Example
from segnet_deploy.geometry import fit_frame, place
from segnet_deploy.optional import require
from segnet_deploy.overlay import colorize, with_legend
from segnet_deploy.segmenter import Segmenter

WORST_SHOWN = 4


def draw_confusion(counts: Any, classes: Sequence[str]) -> Any:
    """Return a BGR picture of the matrix, each row as shares of its ground truth."""
    cv2 = require("cv2", extra="eval")
    matrix = np.asarray(counts, np.float64)
    parts = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    cell, left, count = 44, 110, len(matrix)
    picture = np.full((count * cell + 110, left + count * cell + 10, 3), 255, np.uint8)
    font, black = cv2.FONT_HERSHEY_SIMPLEX, (0, 0, 0)
    for i in range(count):
        cv2.putText(picture, classes[i], (4, i * cell + 27), font, 0.42, black, 1, cv2.LINE_AA)
        name = np.full((cell, 108, 3), 255, np.uint8)
        cv2.putText(name, classes[i], (4, 27), font, 0.42, black, 1, cv2.LINE_AA)
        picture[count * cell : count * cell + 108, left + i * cell :][:, :cell] = np.rot90(name, 3)
        for j in range(count):
            x, y, part = left + j * cell, i * cell, float(parts[i, j])
            shade = tuple(round(255 - part * (255 - c)) for c in (150, 80, 20))
            cv2.rectangle(picture, (x, y), (x + cell - 2, y + cell - 2), shade, -1)
            ink = (255, 255, 255) if part > 0.5 else black
            text = f"{100 * part:.0f}"
            cv2.putText(picture, text, (x + 8, y + 27), font, 0.42, ink, 1, cv2.LINE_AA)
    return picture


def draw_worst(segmenter: Segmenter, examples: Sequence[Example], frames: Sequence[Any]) -> Any:
    """Return a BGR picture with a row per worst frame: frame, ground truth, labels."""
    metadata = segmenter.metadata
    order = sorted(range(len(frames)), key=lambda i: frames[i]["mean_iou"])[:WORST_SHOWN]
    rows = []
    for index in order:
        frame, truth = examples[index].frame(), examples[index].truth(len(metadata.classes))
        pictures = [
            frame,
            *(colorize(m, metadata.palette) for m in (truth, segmenter.segment(frame))),
        ]
        rows.append(np.hstack(pictures))
    size = rows[0].shape[:2]
    fitted = [fit_frame(r, size, place(r.shape[:2], size, "letterbox"), (0, 0, 0)) for r in rows]
    return with_legend(np.vstack(fitted), metadata.classes, metadata.palette)
