"""The newest result and status, shared between the camera loop and the server's thread."""

from __future__ import annotations

import time

from segnet_deploy.camera.result import Result, Status


class SharedState:
    """Written by the loop, read by the server; values are replaced as a whole, without a lock.

    `is_watched`, whether a browser is connected, is written by the server and read by the loop.
    """

    def __init__(self) -> None:
        self.result: Result | None = None
        self.status = Status("connecting", "", 0.0)
        self.is_watched = False
        self._reported = time.monotonic()

    def report(self, status: Status) -> None:
        """Store the status and the time."""
        self.status, self._reported = status, time.monotonic()

    def silent_seconds(self) -> float:
        """Return the time since the last report of the loop."""
        return time.monotonic() - self._reported
