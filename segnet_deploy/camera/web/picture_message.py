"""One binary message for a frame and its labels; the browser composes them.

uint32 length of the header | header, JSON | runs: lengths, uint16 | runs: label ids, uint8 |
frame, JPEG. Numbers are little-endian. A run never crosses a row, rows follow one another.
The labels are exact; the frame loses what JPEG loses.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from segnet_deploy.optional import require
from segnet_deploy.types import Frame

MAX_WIDTH_PX = 1280
_QUALITY = 80


def encode(frame: Frame, labels: Frame, header: dict[str, Any]) -> bytes:
    """Return the message for `frame`, (H, W, 3) uint8 BGR, and `labels`, (H, W) uint8.

    Wider pictures than MAX_WIDTH_PX are scaled down. `header` must be JSON and is sent with
    the picture's `width`, `height` and number of `runs`.
    """
    cv2 = require("cv2", extra="web")
    height, width = labels.shape
    if width > MAX_WIDTH_PX:
        size = (MAX_WIDTH_PX, max(1, round(height * MAX_WIDTH_PX / width)))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        width, height = size
    lengths, ids = run_lengths(labels)
    _, jpeg = cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    text = json.dumps(header | {"width": width, "height": height, "runs": len(ids)}).encode()
    parts = (struct.pack("<I", len(text)), text, lengths.tobytes(), ids.tobytes(), jpeg.data)
    return b"".join(parts)


def run_lengths(labels: Frame) -> tuple[np.ndarray[Any, np.dtype[np.uint16]], Frame]:
    """Return lengths and ids of the runs of equal labels, row after row."""
    starts_run = np.empty(labels.shape, bool)
    starts_run[:, 0] = True
    np.not_equal(labels[:, 1:], labels[:, :-1], out=starts_run[:, 1:])
    starts = np.flatnonzero(starts_run)
    return np.diff(starts, append=labels.size).astype("<u2"), labels.ravel()[starts]
