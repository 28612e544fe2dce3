"""Pause writing while the disk is almost full."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

log = logging.getLogger("segnet_deploy.camera")

MIN_FREE_BYTES = 500_000_000
CHECK_INTERVAL = 1.0  # seconds


class DiskGuard:
    """Checks, at most once per second, whether the disk of `folder` has `min_free_bytes` free."""

    def __init__(self, folder: Path, min_free_bytes: int = MIN_FREE_BYTES):
        self._folder, self._min_free = folder, min_free_bytes
        self._next_check, self._has_room = 0.0, True

    def has_room(self) -> bool:
        """Return whether files may be written; a change is logged."""
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL
            free = shutil.disk_usage(self._folder).free
            has_room = free >= self._min_free
            if has_room != self._has_room:
                log.warning(
                    "writing to %s %s: %.0f MB free, limit %.0f MB",
                    *(self._folder, "resumes" if has_room else "pauses"),
                    *(free / 1e6, self._min_free / 1e6),
                )
            self._has_room = has_room
        return self._has_room
