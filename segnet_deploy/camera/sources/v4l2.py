"""V4L2 devices (USB cameras and others), by OpenCV."""

from __future__ import annotations

import os
from typing import Any

from segnet_deploy.camera.sources.base import SourceLostError, SourceOptions
from segnet_deploy.camera.sources.opencv_stream import OpencvStream
from segnet_deploy.optional import require


class Device:
    """/dev/videoN. A device that is unplugged and plugged in again is opened again."""

    live = True

    def __init__(self, path: str, options: SourceOptions):
        self.name = path
        self._options = options
        # By default OpenCV waits 10 s for a frame. It reads this variable when it is imported.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")

    def open(self, timeout: float) -> OpencvStream:
        """Open the device; see Source."""
        if not os.path.exists(self.name):
            raise SourceLostError(f"{self.name} does not exist; list cameras: ls /dev/video*")
        cv2: Any = require("cv2", extra="camera")
        capture = cv2.VideoCapture(self.name, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise SourceLostError(
                f"{self.name} cannot be opened: in use, not a camera, or no permission (group "
                "video)"
            )
        if self._options.size:
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._options.size[0])
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._options.size[1])
        if self._options.fps:
            capture.set(cv2.CAP_PROP_FPS, self._options.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return OpencvStream(capture, self.name, timeout)
