"""Resident memory of this process over time."""

from __future__ import annotations

import threading
import time

from segnet_deploy.system.memory import rss_bytes

INTERVAL = 0.01  # s
MAX_POINTS = 240


class MemoryTimeline:
    """Samples the resident memory in a thread, from start() to stop().

    `start_phase()` marks the moment from which `phase_peak` counts.
    """

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []
        self._phase_start = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start sampling."""
        self._started = time.perf_counter()
        self._thread.start()

    def start_phase(self) -> None:
        """Let `phase_peak` count from now on."""
        self._sample()
        self._phase_start = max(0, len(self._points) - 1)

    def stop(self) -> None:
        """Stop sampling."""
        self._sample()
        self._ended.set()
        self._thread.join()

    @property
    def phase_peak(self) -> int | None:
        """The largest sample since start_phase(), in bytes; None if memory cannot be read."""
        return max((size for _, size in self._points[self._phase_start :]), default=None)

    def points(self) -> list[list[float]]:
        """Return [seconds, bytes] pairs, at most MAX_POINTS: the maxima of neighbours."""
        step = -(-len(self._points) // MAX_POINTS) or 1
        groups = [self._points[i : i + step] for i in range(0, len(self._points), step)]
        return [[round(group[0][0], 3), max(size for _, size in group)] for group in groups]

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._sample()

    def _sample(self) -> None:
        size = rss_bytes()
        if size is not None:
            self._points.append((time.perf_counter() - self._started, size))
