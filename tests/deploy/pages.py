"""A served page with something to show, for the tests of server and browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from segnet_deploy.camera.result import Result, Status
from segnet_deploy.frames import Frame
from segnet_deploy.scenes import draw_scene
from segnet_deploy.web.server import WebPage

CLASSES = ("left", "right", "box")
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
TOKEN = "0123456789abcdef"


def status(state: str = "live", **fields: object) -> Status:
    return Status(state, "rtsp://user:secret@camera/1", 12.5, **fields)  # type: ignore[arg-type]


def result(number: int = 0, height: int = 48, width: int = 64) -> Result:
    """A drawn street; labels: halves, with a box that moves with `number`."""
    frame: Frame = draw_scene(number % 4, height, width).frame
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] = 1
    left = number % (width - 8)
    labels[8:16, left : left + 8] = 2
    said = status(captured=number, shown=number, frames_per_second=30.0, latency=0.01, age=0.02)
    return Result(frame, labels, number, time.monotonic(), 0.02, said)


@contextmanager
def running(
    address: str = "127.0.0.1:0", token: str | None = None, viewers: int = 8, patience: float = 5.0
) -> Iterator[WebPage]:
    """A served page that is told to be live and shows one result."""
    with WebPage(address, CLASSES, PALETTE, token, viewers, patience) as page:
        page.show(result())
        page.tell(status())
        yield page


@contextmanager
def showing(page: WebPage, fps: float = 50.0) -> Iterator[list[float]]:
    """Show results from a thread, as the camera loop does; the times that show() took."""
    took: list[float] = []
    ended = threading.Event()
    results = [result(number) for number in range(40)]

    def loop() -> None:
        while not ended.wait(1 / fps):
            started = time.monotonic()
            page.show(results[len(took) % len(results)])
            took.append(time.monotonic() - started)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield took
    finally:
        ended.set()
        thread.join()
