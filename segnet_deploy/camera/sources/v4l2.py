"""V4L2 devices (USB cameras and the like), by OpenCV."""

from __future__ import annotations

import os
import time
from typing import Any

from segnet_deploy.camera.sources.base import Pending, SourceLostError, Wishes
from segnet_deploy.optional import require

AT_ONCE = 0.5


class Device:
    """/dev/videoN. A device that is unplugged and comes back is opened again."""

    live = True

    def __init__(self, path: str, wishes: Wishes):
        self.name = path
        self._wishes = wishes
        # OpenCV waits 10 s for a frame unless told otherwise, at best before it is imported.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")

    def open(self, timeout: float) -> CvStream:
        """Open the device; see Source."""
        if not os.path.exists(self.name):
            raise SourceLostError(f"{self.name} is not there; expected a camera: ls /dev/video*")
        cv2: Any = require("cv2", extra="camera")
        capture = cv2.VideoCapture(self.name, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise SourceLostError(
                f"{self.name} cannot be opened: in use, no camera, or no permission (group video)"
            )
        if self._wishes.size:
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._wishes.size[0])
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._wishes.size[1])
        if self._wishes.fps:
            capture.set(cv2.CAP_PROP_FPS, self._wishes.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return CvStream(capture, self.name, timeout)


class CvStream:
    """An open cv2.VideoCapture."""

    def __init__(self, capture: Any, name: str, timeout: float):
        self._capture, self._name, self._timeout = capture, name, timeout

    def read(self) -> Pending | None:
        """Wait for a frame; see Stream. A refusal without waiting is a device that is gone."""
        began = time.monotonic()
        while True:
            asked = time.monotonic()
            got, frame = self._capture.read()
            if got and frame is not None:
                return lambda: frame
            now = time.monotonic()
            if now - asked < AT_ONCE:
                raise SourceLostError(f"{self._name}: no frame; unplugged?")
            if now - began >= self._timeout:
                raise SourceLostError(f"{self._name}: no frame for {self._timeout:g} s")

    def close(self) -> None:
        """Release the device."""
        self._capture.release()
