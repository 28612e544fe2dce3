"""A window that shows pictures."""

from __future__ import annotations

import os
import sys
from typing import Any

from segnet_deploy.errors import InputError, MissingDependencyError
from segnet_deploy.optional import require
from segnet_deploy.types import Frame

QUIT_KEYS = (27, ord("q"))  # Esc, q
_POLL_MS = 100


class PictureWindow:
    """An OpenCV window; `closed` once it was closed, by its button, q or Esc. For one thread.

    `instead` is what the error advises where there is no display. Raises InputError without a
    display, MissingDependencyError if OpenCV is built without windows.
    """

    def __init__(self, title: str, instead: str):
        if sys.platform == "linux" and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise InputError(f"cannot open a window: no display (DISPLAY is not set); {instead}")
        self._cv2: Any = require("cv2", extra="display")
        self._title, self._is_drawn, self._has_quit = title, False, False
        try:
            self._cv2.namedWindow(title, self._cv2.WINDOW_NORMAL)
        except self._cv2.error as error:
            raise MissingDependencyError(
                "cannot open a window: this OpenCV is built without windows; pip uninstall "
                'opencv-python-headless, then pip install "segnet-deploy[display]"'
            ) from error

    @property
    def closed(self) -> bool:
        """Whether the user closed the window."""
        return self._has_quit or (self._is_drawn and not self._is_visible())

    def show(self, picture: Frame) -> None:
        """Show a picture, (H, W, 3) uint8 BGR, and read the keys."""
        self._cv2.imshow(self._title, picture)
        self._is_drawn = True
        self.poll()

    def poll(self, milliseconds: int = 1) -> bool:
        """Let the window draw itself, and read the keys; return whether one was pressed."""
        key: int = self._cv2.waitKey(milliseconds)
        self._has_quit = self._has_quit or (key >= 0 and key & 0xFF in QUIT_KEYS)
        return key >= 0

    def wait(self) -> None:
        """Wait until a key is pressed or the window is closed."""
        while not self.closed and not self.poll(_POLL_MS):
            pass

    def set_title(self, text: str) -> None:
        """Change the title."""
        if self._is_visible():
            self._cv2.setWindowTitle(self._title, text)

    def close(self) -> None:
        """Close the window."""
        self._cv2.destroyAllWindows()

    def _is_visible(self) -> bool:
        try:
            visible: float = self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE)
        except self._cv2.error:  # some back ends raise for a closed window
            return False
        return visible >= 1
