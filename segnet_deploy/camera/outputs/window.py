"""Show overlays in a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segnet_deploy.camera.result import Result, Status
from segnet_deploy.classes import Colour
from segnet_deploy.optional import require
from segnet_deploy.overlay import overlay
from segnet_deploy.results.window import PictureWindow

TITLE = "segnet-camera"


class Window:
    """An OpenCV window; q, Esc or closing it calls `stop`. To be used by one thread.

    `palette` is RGB, `alpha` the weight of the colours, 0 to 1. Raises as PictureWindow does.
    """

    def __init__(self, palette: Sequence[Colour], stop: Callable[[], None], alpha: float = 0.5):
        self._window = PictureWindow(TITLE, "use --serve and a browser")
        self._palette, self._stop, self._alpha = palette, stop, alpha
        self._state = ""

    def show(self, result: Result) -> None:
        """Draw the overlay with frame rate and age; stop if the window was closed."""
        if self._stops():
            return
        cv2 = require("cv2", extra="display")
        picture = overlay(result.frame, result.labels, self._palette, self._alpha)
        status = result.status
        text = f"{status.frames_per_second:.1f} fps  age {result.age * 1000:.0f} ms"
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picture, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness)
        self._window.show(picture)
        self._stops()

    def report(self, status: Status) -> None:
        """Show the state in the title."""
        if status.state != self._state:
            self._state = status.state
            self._window.set_title(f"{TITLE}: {status.source}, {status.state}")
        self._window.poll()
        self._stops()

    def close(self) -> None:
        """Close the window."""
        self._window.close()

    def _stops(self) -> bool:
        if self._window.closed:
            self._stop()
        return self._window.closed
