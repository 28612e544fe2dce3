"""V4L2 devices (USB cameras and the like), by OpenCV."""

from __future__ import annotations

import math
import os
from typing import Any

from segnet_deploy.camera.sources import Pending, SourceLostError, Wishes
from segnet_deploy.optional import require


class Device:
    """/dev/videoN. A device that is unplugged and comes back is opened again."""

    live = True

    def __init__(self, path: str, wishes: Wishes):
        self.name = path
        self._wishes = wishes

    def open(self, timeout: float) -> CvStream:
        """Open the device; see Source."""
        if not os.path.exists(self.name):
            raise SourceLostError(f"{self.name} is not there; expected a camera: ls /dev/video*")
        # OpenCV waits 10 s for a frame of a device unless told otherwise before its first one.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(math.ceil(timeout)))
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
        return CvStream(capture, self.name)


class CvStream:
    """An open cv2.VideoCapture."""

    def __init__(self, capture: Any, name: str):
        self._capture, self._name = capture, name

    def read(self) -> Pending | None:
        """Wait for a frame; see Stream."""
        got, frame = self._capture.read()
        if not got or frame is None:
            raise SourceLostError(f"{self._name}: no frame; unplugged or stalled")
        return lambda: frame

    def close(self) -> None:
        """Release the device."""
        self._capture.release()
