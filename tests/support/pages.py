"""A running camera page with results, for the tests of server and browser."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from aiohttp import ClientSession, ClientWebSocketResponse

from segnet_deploy.camera.result import Result, Status
from segnet_deploy.camera.web.server import WebPage
from segnet_deploy.scenes import draw_scene
from segnet_deploy.types import Frame

Answer = tuple[int, dict[str, str], str]
CLASSES = ("left", "right", "box")
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
TOKEN = "0123456789abcdef"


def status(state: str = "live", **fields: object) -> Status:
    return Status(state, "rtsp://user:secret@camera/1", 12.5, **fields)  # type: ignore[arg-type]


def result(number: int = 0, height: int = 48, width: int = 64) -> Result:
    """Return a street scene; its labels are two halves and a box that moves with `number`."""
    frame: Frame = draw_scene(number % 4, height, width).frame
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] = 1
    left = number % (width - 8)
    labels[8:16, left : left + 8] = 2
    current = status(captured=number, shown=number, frames_per_second=30.0, latency=0.01, age=0.02)
    return Result(frame, labels, number, time.monotonic(), 0.02, current)


@contextmanager
def running(
    address: str = "127.0.0.1:0", token: str | None = None, viewers: int = 8, patience: float = 5.0
) -> Iterator[WebPage]:
    """Yield a running page whose status is live and which shows one result."""
    with WebPage(address, CLASSES, PALETTE, token, viewers, patience) as page:
        page.show(result())
        page.report(status())
        yield page


@contextmanager
def showing(page: WebPage, fps: float = 50.0) -> Iterator[list[float]]:
    """Show results from a thread, as the camera loop does; yield the seconds that show() took."""
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


def get(page: WebPage, path: str = "", **headers: str) -> Answer:
    """Return status, headers and text of a GET request; header names contain _ for -."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(page.url + path, headers=names)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def watch(page: WebPage, act: Callable[[ClientWebSocketResponse], Awaitable[Any]]) -> Any:
    """Connect a viewer and return what `act` returns."""

    async def connect() -> Any:
        async with ClientSession() as session, session.ws_connect(page.url + "live") as viewer:
            return await act(viewer)

    return asyncio.run(connect())


def exchange(page: WebPage, data: bytes, patience: float = 5.0) -> bytes:
    """Send bytes and return the beginning of the answer, empty if there is none."""
    port = int(page.url.split(":")[2].strip("/"))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        try:
            raw.sendall(data)
            raw.settimeout(patience)
            return raw.recv(65536)
        except OSError:
            return b""
