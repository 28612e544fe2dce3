"""Log the status of the loop."""

from __future__ import annotations

import logging
import time

from segnet_deploy.camera.result import Result, Status

log = logging.getLogger("segnet_deploy.camera")

INTERVAL = 60.0  # seconds between two lines if the state does not change


class StatusLog:
    """Logs each change of state, and the figures once per minute, at level INFO."""

    def __init__(self) -> None:
        self._state, self._next_line = "", 0.0

    def show(self, result: Result) -> None:
        """Ignore the result."""

    def report(self, status: Status) -> None:
        """Log the status if it is new or a minute has passed."""
        now = time.monotonic()
        if status.state == self._state and now < self._next_line:
            return
        self._state, self._next_line = status.state, now + INTERVAL
        log.info(
            "%s: %s, %.1f fps, latency %.0f ms, age %.0f ms, %d shown, %d dropped, "
            "%d reconnects, %d errors",
            *(status.source, status.state, status.frames_per_second, status.latency * 1e3),
            *(status.age * 1e3, status.shown, status.dropped, status.reconnects, status.errors),
            extra={"status": status},
        )

    def close(self) -> None:
        """Do nothing."""
