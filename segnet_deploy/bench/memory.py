"""Resident memory over time, and what the machine has left."""

from __future__ import annotations

import threading
import time

from segnet_deploy.system.memory import rss_bytes

INTERVAL = 0.01  # s
MOST_POINTS = 240


class MemoryTimeline:
    """Samples this process's resident memory in a thread, from start() to stop().

    `mark()` names the moment from which `largest_since_mark` counts.
    """

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._marked: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._started = time.perf_counter()
        self._thread.start()

    def mark(self) -> None:
        """Let what follows count as running."""
        self._sample()
        self._marked = max(0, len(self._points) - 1)

    def stop(self) -> None:
        """End the thread."""
        self._sample()
        self._ended.set()
        self._thread.join()

    @property
    def largest_since_mark(self) -> int | None:
        """The largest sample since mark(), in bytes; None where memory cannot be read."""
        values = [size for _, size in self._points[self._marked or 0 :]]
        return max(values, default=None)

    def points(self) -> list[list[float]]:
        """Return [seconds, bytes], thinned by keeping the largest of neighbours."""
        step = -(-len(self._points) // MOST_POINTS) or 1
        groups = [self._points[i : i + step] for i in range(0, len(self._points), step)]
        return [[round(group[0][0], 3), max(size for _, size in group)] for group in groups]

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._sample()

    def _sample(self) -> None:
        size = rss_bytes()
        if size is not None:
            self._points.append((time.perf_counter() - self._started, size))


def added_bytes(baseline: int | None, peak: int | None) -> int | None:
    """Return by how much the peak exceeds a baseline, or None if either is unknown."""
    return None if baseline is None or peak is None else max(0, peak - baseline)
