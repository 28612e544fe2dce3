"""A stream that OpenCV decodes: of a V4L2 device or of a GStreamer pipeline."""

from __future__ import annotations

import time
from typing import Any

from segnet_deploy.camera.sources.base import PendingFrame, SourceLostError

MIN_WAIT = 0.5  # seconds; a read that fails sooner did not wait for a frame


class OpencvStream:
    """An open cv2.VideoCapture. `errors` stays 0: OpenCV does not report damaged frames."""

    errors = 0

    def __init__(self, capture: Any, name: str, timeout: float):
        self._capture, self._name, self._timeout = capture, name, timeout

    def read(self) -> PendingFrame | None:
        """Wait for a frame; see Stream. A read that fails at once means that the device is gone."""
        began = time.monotonic()
        while True:
            requested = time.monotonic()
            success, frame = self._capture.read()
            if success and frame is not None:
                return lambda: frame
            now = time.monotonic()
            if now - requested < MIN_WAIT:
                raise SourceLostError(f"{self._name}: no frame; is it unplugged?")
            if now - began >= self._timeout:
                raise SourceLostError(f"{self._name}: no frame for {self._timeout:g} s")

    def close(self) -> None:
        """Release the device."""
        self._capture.release()
