"""Logs for people or, as JSON lines, for machines; and the state in them."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import asdict
from typing import Any

from segnet_deploy.camera.result import Result, Status

log = logging.getLogger("segnet_deploy.camera")

EVERY = 60.0  # seconds between two lines without a change


def start_logging(as_json: bool) -> None:
    """Send the package's log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, message, and the status where it is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if (status := getattr(record, "status", None)) is not None:
            line["status"] = asdict(status)
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


class StatusLog:
    """Logs each change of the state, and the figures once a minute."""

    def __init__(self) -> None:
        self._state, self._due = "", 0.0

    def show(self, result: Result) -> None:
        """Frames are not logged."""

    def tell(self, status: Status) -> None:
        """Log what is new."""
        now = time.monotonic()
        if status.state == self._state and now < self._due:
            return
        self._state, self._due = status.state, now + EVERY
        log.info(
            "%s: %s, %.1f fps, latency %.0f ms, age %.0f ms, %d shown, %d dropped, "
            "%d reconnects, %d errors",
            *(status.source, status.state, status.frames_per_second, status.latency * 1e3),
            *(status.age * 1e3, status.shown, status.dropped, status.reconnects, status.errors),
            extra={"status": status},
        )

    def close(self) -> None:
        """Nothing is held."""
