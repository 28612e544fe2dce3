"""Leave some space on the disk."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

log = logging.getLogger("segnet_deploy.camera")

LEAST_BYTES = 500_000_000
CHECK = 1.0


class DiskGuard:
    """Says whether the disk of `folder` has `least_bytes` left; looks once a second."""

    def __init__(self, folder: Path, least_bytes: int = LEAST_BYTES):
        self._folder, self._least = folder, least_bytes
        self._due, self._room = 0.0, True

    def has_room(self) -> bool:
        """Tell whether there is room to write; a change is logged."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + CHECK
            free = shutil.disk_usage(self._folder).free
            room = free >= self._least
            if room != self._room:
                change = "goes on" if room else "pauses"
                log.warning(
                    "writing to %s %s: %.0f MB free, %.0f MB are to stay free",
                    *(self._folder, change, free / 1e6, self._least / 1e6),
                )
            self._room = room
        return self._room
