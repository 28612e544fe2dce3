"""One binary message with a frame and its labels; the browser blends them.

uint32 length of the header | header, JSON | runs: lengths, uint16 | runs: class ids, uint8 |
levels of the uncertainty, JPEG, if there are any | frame, JPEG. Numbers are little-endian. No run
continues in the next row; rows are in order. The labels are lossless, the frame and the uncertainty
are not.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from segnet_deploy.optional import require
from segnet_deploy.results.run_lengths import find_runs
from segnet_deploy.types import Frame

MAX_WIDTH_PX = 1280
_JPEG_QUALITY = 80


def encode_picture(
    frame: Frame, labels: Frame, header: dict[str, Any], heat: Frame | None = None
) -> bytes:
    """Return the message for `frame`, (H, W, 3) uint8 BGR, and `labels`, (H, W) uint8.

    `heat` are the levels of the uncertainty, (H, W) uint8 (segnet_deploy.overlay.heat_levels).

    Pictures wider than MAX_WIDTH_PX are scaled down. `header` must be JSON; the picture's `width`
    and `height` in px its number of `runs` and the bytes of the `uncertainty` are added to it.
    """
    cv2 = require("cv2", extra="web")
    height, width = labels.shape
    if width > MAX_WIDTH_PX:
        size = (MAX_WIDTH_PX, max(1, round(height * MAX_WIDTH_PX / width)))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        heat = None if heat is None else cv2.resize(heat, size, interpolation=cv2.INTER_AREA)
        width, height = size
    ids, lengths = find_runs(labels, split_rows=True)
    quality = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
    _, jpeg = cv2.imencode(".jpg", frame, quality)
    levels = b"" if heat is None else cv2.imencode(".jpg", heat, quality)[1].tobytes()
    size_facts = {"width": width, "height": height, "runs": len(ids), "uncertainty": len(levels)}
    text = json.dumps(header | size_facts).encode()
    runs = (lengths.astype("<u2").tobytes(), ids.tobytes())
    return b"".join((struct.pack("<I", len(text)), text, *runs, levels, jpeg.data))
