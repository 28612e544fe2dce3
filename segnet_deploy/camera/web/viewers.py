"""The browsers that watch: each asks for its next picture when it has drawn one.

So a slow browser or network gets fewer pictures, never older ones, and one in a hidden tab
gets none. A picture is encoded once for all, and only when someone has asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from segnet_deploy.camera.result import Result, Status
from segnet_deploy.camera.web.picture_message import encode
from segnet_deploy.camera.web.shared_state import Latest
from segnet_deploy.camera.web.telemetry import describe

_log = logging.getLogger("segnet_deploy.camera")
_ASKED_MAX = 2  # one picture on its way while another is drawn
_HISTORY = 120  # states that a new viewer gets for its plots, about one a second
_INTERVAL = 0.025  # seconds between pictures at the least
_PLOTTED = ("frames_per_second", "latency", "age", "rss_bytes")


class Viewer:
    """One WebSocket: what it has asked for, and what waits to be sent to it."""

    def __init__(self, socket: web.WebSocketResponse, hello: str):
        self.socket = socket
        self.asked = 0
        self.seen = 0  # number of the last picture given to it
        self._texts: deque[str] = deque([hello], maxlen=4)
        self._picture: bytes | None = None
        self._wake = asyncio.Event()
        self._wake.set()

    def say(self, text: str) -> None:
        """Leave a text; the oldest of those that wait is lost where it is slow."""
        self._texts.append(text)
        self._wake.set()

    def give(self, number: int, picture: bytes) -> None:
        """Leave the picture it asked for."""
        self.asked, self.seen, self._picture = self.asked - 1, number, picture
        self._wake.set()

    async def write(self, timeout: float) -> None:
        """Send what waits until cancelled. Raises TimeoutError where the network blocks."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._texts:
                await asyncio.wait_for(self.socket.send_str(self._texts.popleft()), timeout)
            if self._picture is not None:
                picture, self._picture = self._picture, None
                await asyncio.wait_for(self.socket.send_bytes(picture), timeout)


class Viewers:
    """All of them. Lives on the server's event loop."""

    def __init__(
        self, latest: Latest, hello: dict[str, Any], limit: int, patience: float = 5.0
    ) -> None:
        self.pictures = self.dropped = 0
        self._latest, self._hello = latest, hello
        self._limit, self._patience = limit, patience
        self._open: set[Viewer] = set()
        self._history: deque[list[Any]] = deque(maxlen=_HISTORY)
        self._wake = asyncio.Event()
        self._encoded: Result | None = None
        self._picture = b""

    def __len__(self) -> int:
        return len(self._open)

    def wake(self) -> None:
        """Look again: a frame has come, or someone has asked."""
        self._wake.set()

    def tell(self, status: Status) -> None:
        """Send the state to all."""
        fields = describe(status)
        self._history.append([fields[name] for name in _PLOTTED])
        if self._open:
            text = json.dumps({"type": "status", "status": fields})
            for viewer in self._open:
                viewer.say(text)

    async def run(self) -> None:
        """Hand out pictures until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            asking = [viewer for viewer in self._open if viewer.asked]
            if not asking:
                continue
            self._renew()
            for viewer in asking:
                if viewer.seen != self.pictures:
                    viewer.give(self.pictures, self._picture)
            await asyncio.sleep(_INTERVAL)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one browser until it leaves or is dropped."""
        socket = web.WebSocketResponse(
            heartbeat=2 * self._patience, timeout=0.3, max_msg_size=256, compress=False
        )
        await socket.prepare(request)
        if len(self._open) >= self._limit:
            text = f"{self._limit} viewers are connected; close one"
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=text.encode())
            return socket
        viewer = Viewer(socket, self._hello_text())
        writer = asyncio.ensure_future(self._write(viewer, request.transport))
        self._add(viewer)
        try:
            async for message in socket:
                if not self._ask(viewer, message.type, message.data):
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"unexpected")
        finally:
            self._discard(viewer)
            writer.cancel()
            await asyncio.wait([writer])  # or the loop may end before it does
        if isinstance(socket.exception(), asyncio.TimeoutError):  # no pong came
            self._note_drop()
        return socket

    async def close(self) -> None:
        """Say goodbye to all, without waiting for those that do not answer."""
        closing = [v.socket.close(code=WSCloseCode.GOING_AWAY) for v in self._open]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), 0.4)

    def _hello_text(self) -> str:
        state = {"history": list(self._history), "status": describe(self._latest.status)}
        return json.dumps({"type": "hello"} | self._hello | state)

    def _renew(self) -> None:
        """Encode the newest result, unless it is the one encoded last."""
        result = self._latest.result
        if result is None or result is self._encoded:
            return
        age = round(time.monotonic() - result.captured, 4)
        header = {"sequence": result.sequence, "age": age}
        self._picture = encode(result.frame, result.labels, header)
        self._encoded = result
        self.pictures += 1

    def _ask(self, viewer: Viewer, kind: WSMsgType, data: Any) -> bool:
        """Note that the viewer wants a picture; tell whether it may."""
        if kind is not WSMsgType.TEXT or data != "next" or viewer.asked >= _ASKED_MAX:
            return False
        viewer.asked += 1
        self.wake()
        return True

    async def _write(self, viewer: Viewer, transport: asyncio.Transport | None) -> None:
        try:
            await viewer.write(self._patience)
        except (asyncio.TimeoutError, ConnectionError) as error:
            if isinstance(error, asyncio.TimeoutError):
                self._note_drop()
            if transport is not None:
                transport.abort()

    def _note_drop(self) -> None:
        self.dropped += 1
        _log.warning("viewer dropped: it took nothing for %.0f s", self._patience)

    def _add(self, viewer: Viewer) -> None:
        self._open.add(viewer)
        self._latest.watched = True
        _log.info("viewer came; %d now", len(self._open))

    def _discard(self, viewer: Viewer) -> None:
        self._open.discard(viewer)
        self._latest.watched = bool(self._open)
        _log.info("viewer left; %d now", len(self._open))
