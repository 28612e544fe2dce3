"""Write the camera's log to stderr, as text or as JSON lines."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import asdict
from typing import Any

from segnet_deploy.camera.result import Status
from segnet_deploy.schemas import head


def start_logging(as_json: bool, quiet: bool = False) -> None:
    """Write the log of `segnet_deploy.camera` to stderr, if `quiet` only what went wrong."""
    log = logging.getLogger("segnet_deploy.camera")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    log.handlers[:] = [handler]
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False


def log_end(status: Status) -> None:
    """Log how many frames were shown, with the last status."""
    log = logging.getLogger("segnet_deploy.camera")
    log.info("%d frames shown", status.shown, extra={"status": status})


class JsonLines(logging.Formatter):
    """One JSON object per line: schemas/camera-log.json."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, Any] = {
            **head("camera-log"),
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
