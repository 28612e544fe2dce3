"""Types that several modules share. Importing it loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]
    Frame = np.ndarray[Any, np.dtype[np.uint8]]
    """An image, (H, W, 3) uint8 in BGR order, or a label map, (H, W) uint8."""
else:
    Array = Frame = Any

Size = tuple[int, int]
"""(height, width) in px."""

Clock = Callable[[], float]
"""Seconds that never go back, such as time.perf_counter."""

DEFAULT_SIZE: Size = (360, 480)
"""The size of CamVid's frames in the SegNet paper: used where nothing else sets one."""

FITS = ("stretch", "letterbox")
"""How a frame is fitted to the model's size: all of it, or with its aspect ratio and a border."""
