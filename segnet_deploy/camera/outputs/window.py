"""Show overlays in a window."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from segnet_deploy.camera.result import Result, Status
from segnet_deploy.classes import Colour
from segnet_deploy.errors import InputError, MissingDependencyError
from segnet_deploy.optional import require
from segnet_deploy.overlay import overlay

TITLE = "segnet-camera"
QUIT_KEYS = (27, ord("q"))


class Window:
    """A window of OpenCV; q, Esc or closing it calls `stop`. To be used by one thread.

    Raises InputError without a display, MissingDependencyError where OpenCV has no windows.
    """

    def __init__(self, palette: Sequence[Colour], stop: Callable[[], None], alpha: float = 0.5):
        if sys.platform == "linux" and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise InputError("--show: no display (DISPLAY is not set); use --serve and a browser")
        self._cv2: Any = require("cv2", extra="display")
        self._palette, self._stop, self._alpha = palette, stop, alpha
        self._state, self._drawn = "", False
        try:
            self._cv2.namedWindow(TITLE, self._cv2.WINDOW_NORMAL)
        except self._cv2.error as error:
            raise MissingDependencyError(
                "--show: this OpenCV has no windows; pip uninstall opencv-python-headless, then "
                'pip install "segnet-deploy[display]"'
            ) from error

    def show(self, result: Result) -> None:
        """Draw the overlay with rate and age, unless the window has been closed."""
        if self._drawn and not self._visible():
            self._stop()
            return
        picture = overlay(result.frame, result.labels, self._palette, self._alpha)
        status = result.status
        text = f"{status.frames_per_second:.1f} fps  age {result.age * 1000:.0f} ms"
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            font = self._cv2.FONT_HERSHEY_SIMPLEX
            self._cv2.putText(picture, text, (8, 20), font, 0.5, colour, thickness)
        self._cv2.imshow(TITLE, picture)
        self._drawn = True
        self._handle_keys()

    def tell(self, status: Status) -> None:
        """Show the state in the title."""
        if status.state != self._state:
            self._state = status.state
            if self._visible():
                self._cv2.setWindowTitle(TITLE, f"{TITLE}: {status.source}, {status.state}")
        self._handle_keys()

    def close(self) -> None:
        """Close the window."""
        self._cv2.destroyAllWindows()

    def _handle_keys(self) -> None:
        if self._cv2.waitKey(1) & 0xFF in QUIT_KEYS:
            self._stop()

    def _visible(self) -> bool:
        try:
            shown: float = self._cv2.getWindowProperty(TITLE, self._cv2.WND_PROP_VISIBLE)
        except self._cv2.error:  # some back ends raise for a window that is gone
            return False
        return shown >= 1
