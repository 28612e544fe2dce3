"""A stream over an iterator of pictures, at a given rate."""

from __future__ import annotations

import time
from collections.abc import Iterator

from segnet_deploy.camera.sources.base import PendingFrame

MAX_LAG = 1.0  # seconds; after a longer pause, what was missed is not made up for


class PacedStream:
    """Returns `fps` pictures per second, or as fast as they are read if `fps` is None."""

    def __init__(self, pictures: Iterator[PendingFrame], fps: float | None):
        self._pictures, self._interval = pictures, 1 / fps if fps else 0.0
        self._due = time.monotonic()
        self.errors = 0

    def read(self) -> PendingFrame | None:
        """Wait until the next picture is due; see Stream."""
        now = time.monotonic()
        self._due = max(self._due, now - MAX_LAG)
        time.sleep(max(0.0, self._due - now))
        self._due += self._interval
        return next(self._pictures, None)

    def close(self) -> None:
        """Do nothing: no device or file is open."""
