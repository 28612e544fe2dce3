"""The newest frame and state, handed from the camera loop to the server's thread."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np

from segnet_deploy.camera.result import Result, Status
from segnet_deploy.frames import Frame

_UNWATCHED_SECONDS = 0.5  # between copies while nobody watches


@dataclass
class Snapshot:
    """A frame with its labels, valid until the next `take`."""

    frame: Frame  # (H, W, 3) uint8, BGR
    labels: Frame  # (H, W) uint8
    sequence: int = 0
    captured: float = 0.0


class Latest:
    """A one-slot mailbox with two sets of buffers: one to write, one that is being read.

    The lock is held for a copy of one frame at most, so neither side waits for an encoder
    or a network. Nothing is allocated while the frame's size stays.
    """

    def __init__(self) -> None:
        self.status = Status("connecting", "", 0.0)
        self.told = time.monotonic()
        self.watched = False
        self._lock = threading.Lock()
        self._front: Snapshot | None = None
        self._back: Snapshot | None = None
        self._fresh = False
        self._copied = -_UNWATCHED_SECONDS

    def tell(self, status: Status) -> None:
        """Keep the state."""
        self.status, self.told = status, time.monotonic()

    def put(self, result: Result) -> bool:
        """Copy the result in; while nobody watches, twice a second. Tell whether it was."""
        self.tell(result.status)
        if not self.watched and self.told - self._copied < _UNWATCHED_SECONDS:
            return False
        self._copied = self.told
        with self._lock:
            front = self._front
            if front is None or front.labels.shape != result.labels.shape:
                front = self._front = Snapshot(
                    np.empty_like(result.frame, order="C"), np.empty_like(result.labels, order="C")
                )
            np.copyto(front.frame, result.frame)
            np.copyto(front.labels, result.labels)
            front.sequence, front.captured = result.sequence, result.captured
            self._fresh = True
        return True

    def take(self) -> Snapshot | None:
        """Return the newest frame, or None where none has come since the last call."""
        with self._lock:
            if not self._fresh:
                return None
            self._front, self._back, self._fresh = self._back, self._front, False
            return self._back
