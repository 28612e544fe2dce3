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
QUIT_KEYS = (27, ord("q"))  # Esc, q


class Window:
    """An OpenCV window; q, Esc or closing it calls `stop`. To be used by one thread.

    `palette` is RGB, `alpha` the weight of the colours, 0 to 1.
    Raises InputError without a display, MissingDependencyError if OpenCV is built without windows.
    """

    def __init__(self, palette: Sequence[Colour], stop: Callable[[], None], alpha: float = 0.5):
        if sys.platform == "linux" and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise InputError(
                "cannot open a window: no display (DISPLAY is not set); use --serve and a browser"
            )
        self._cv2: Any = require("cv2", extra="display")
        self._palette, self._stop, self._alpha = palette, stop, alpha
        self._state, self._is_drawn = "", False
        try:
            self._cv2.namedWindow(TITLE, self._cv2.WINDOW_NORMAL)
        except self._cv2.error as error:
            raise MissingDependencyError(
                "cannot open a window: this OpenCV is built without windows; pip uninstall "
                'opencv-python-headless, then pip install "segnet-deploy[display]"'
            ) from error

    def show(self, result: Result) -> None:
        """Draw the overlay with frame rate and age; stop if the window was closed."""
        if self._is_drawn and not self._is_visible():
            self._stop()
            return
        picture = overlay(result.frame, result.labels, self._palette, self._alpha)
        status = result.status
        text = f"{status.frames_per_second:.1f} fps  age {result.age * 1000:.0f} ms"
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            font = self._cv2.FONT_HERSHEY_SIMPLEX
            self._cv2.putText(picture, text, (8, 20), font, 0.5, colour, thickness)
        self._cv2.imshow(TITLE, picture)
        self._is_drawn = True
        self._handle_keys()

    def report(self, status: Status) -> None:
        """Show the state in the title."""
        if status.state != self._state:
            self._state = status.state
            if self._is_visible():
                self._cv2.setWindowTitle(TITLE, f"{TITLE}: {status.source}, {status.state}")
        self._handle_keys()

    def close(self) -> None:
        """Close the window."""
        self._cv2.destroyAllWindows()

    def _handle_keys(self) -> None:
        if self._cv2.waitKey(1) & 0xFF in QUIT_KEYS:
            self._stop()

    def _is_visible(self) -> bool:
        try:
            visible: float = self._cv2.getWindowProperty(TITLE, self._cv2.WND_PROP_VISIBLE)
        except self._cv2.error:  # some back ends raise for a closed window
            return False
        return visible >= 1
