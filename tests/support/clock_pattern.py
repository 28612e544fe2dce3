"""Draw the time into a picture: milliseconds as 32 black and white blocks, and their inverse.

It also runs under the system's Python, which has numpy but not this project.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

BITS = 32
ROW_PX = 16


def milliseconds() -> int:
    """Return the monotonic clock in ms, which is the same in all processes of a machine."""
    return int(time.monotonic() * 1000) % (1 << BITS)


def draw(luma: Any, value: int) -> None:
    """Draw `value` into the top two rows of blocks of (H, W) uint8 luma."""
    width = luma.shape[1] // BITS
    bits = np.array([value >> i & 1 for i in range(BITS)], np.uint8)
    row = np.repeat(bits * 190 + 30, width)
    luma[:ROW_PX, : row.size] = row
    luma[ROW_PX : 2 * ROW_PX, : row.size] = 250 - row


def read(luma: Any) -> int | None:
    """Return the value in (H, W) luma or one channel; None if the two rows disagree."""
    width = luma.shape[1] // BITS
    rows = []
    for top in (0, ROW_PX):
        middle = luma[top + 5 : top + ROW_PX - 5, : BITS * width].reshape(-1, BITS, width)
        rows.append(middle[:, :, 4:-4].mean(axis=(0, 2)) > 125)
    if (rows[0] == rows[1]).any():
        return None
    return int(sum(1 << i for i, bit in enumerate(rows[0]) if bit))


def age(luma: Any) -> float | None:
    """Return how many seconds ago the picture was drawn, or None if it is unreadable."""
    value = read(luma)
    return None if value is None else ((milliseconds() - value) % (1 << BITS)) / 1000
