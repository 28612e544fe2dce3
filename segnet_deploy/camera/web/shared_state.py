"""The newest result and state, between the camera loop and the server's thread."""

from __future__ import annotations

import time

from segnet_deploy.camera.result import Result, Status


class Latest:
    """Written by the loop, read by the server; each value is replaced whole, so nobody waits.

    `watched` goes the other way: whether anybody looks at the pictures.
    """

    def __init__(self) -> None:
        self.result: Result | None = None
        self.status = Status("connecting", "", 0.0)
        self.told = time.monotonic()
        self.watched = False

    def tell(self, status: Status) -> None:
        """Keep the state, and when it was told."""
        self.status, self.told = status, time.monotonic()

    def silent_seconds(self) -> float:
        """Return how long the loop has said nothing."""
        return time.monotonic() - self.told
