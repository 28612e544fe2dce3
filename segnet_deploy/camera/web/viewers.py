"""The connected browsers: each requests its next picture after it has drawn one.

So a slow browser or network gets fewer pictures, not older ones, and a hidden tab gets none. A
picture is encoded once for all viewers, and only if one has requested it.
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
from segnet_deploy.camera.web.picture_message import encode_picture
from segnet_deploy.camera.web.shared_state import SharedState
from segnet_deploy.camera.web.telemetry import status_fields
from segnet_deploy.overlay import heat_levels

_log = logging.getLogger("segnet_deploy.camera")
_MAX_REQUESTS = 2  # one picture is transmitted while another is drawn
_HISTORY = 120  # statuses sent to a new viewer for its plots, about one per second
_MIN_INTERVAL = 0.025  # seconds between two pictures
_PLOTTED = ("frames_per_second", "latency", "age", "rss_bytes")


class Viewer:
    """One WebSocket: its open requests, and the messages queued for it."""

    def __init__(self, socket: web.WebSocketResponse, hello: str):
        self.socket = socket
        self.requests = 0  # pictures requested and not yet sent
        self.last_picture = 0  # number of the last picture queued
        self._texts: deque[str] = deque([hello], maxlen=4)
        self._picture: bytes | None = None
        self._wake = asyncio.Event()
        self._wake.set()

    def queue_text(self, text: str) -> None:
        """Queue a text; if the viewer is slow, the oldest queued text is dropped."""
        self._texts.append(text)
        self._wake.set()

    def queue_picture(self, number: int, picture: bytes) -> None:
        """Queue the picture that the viewer requested."""
        self.requests -= 1
        self.last_picture, self._picture = number, picture
        self._wake.set()

    async def write(self, timeout: float) -> None:
        """Send queued messages until cancelled. Raises TimeoutError if the network blocks."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._texts:
                await asyncio.wait_for(self.socket.send_str(self._texts.popleft()), timeout)
            if self._picture is not None:
                picture, self._picture = self._picture, None
                await asyncio.wait_for(self.socket.send_bytes(picture), timeout)


class Viewers:
    """All viewers. Used on the server's event loop only."""

    def __init__(
        self, state: SharedState, hello: dict[str, Any], limit: int, patience: float = 5.0
    ) -> None:
        self.pictures = self.dropped = 0
        self._state, self._hello = state, hello
        self._limit, self._patience = limit, patience
        self._open: set[Viewer] = set()
        self._history: deque[list[Any]] = deque(maxlen=_HISTORY)
        self._wake = asyncio.Event()
        self._encoded: Result | None = None
        self._picture = b""

    def __len__(self) -> int:
        return len(self._open)

    def wake(self) -> None:
        """Check again: there is a new result or a new request."""
        self._wake.set()

    def report(self, status: Status) -> None:
        """Send the status to all viewers."""
        fields = status_fields(status)
        self._history.append([fields[name] for name in _PLOTTED])
        if self._open:
            text = json.dumps({"type": "status", "status": fields})
            for viewer in self._open:
                viewer.queue_text(text)

    async def run(self) -> None:
        """Send pictures until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting = [viewer for viewer in self._open if viewer.requests]
            if not waiting:
                continue
            self._encode_newest()
            for viewer in waiting:
                if viewer.last_picture != self.pictures:
                    viewer.queue_picture(self.pictures, self._picture)
            await asyncio.sleep(_MIN_INTERVAL)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one browser until it leaves or is disconnected."""
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
                if not self._accept_request(viewer, message.type, message.data):
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"unexpected")
        finally:
            self._discard(viewer)
            writer.cancel()
            await asyncio.wait([writer])  # else the event loop may end first
        if isinstance(socket.exception(), asyncio.TimeoutError):  # no pong was received
            self._count_drop()
        return socket

    async def close(self) -> None:
        """Close all connections, without waiting for viewers that do not answer."""
        closing = [v.socket.close(code=WSCloseCode.GOING_AWAY) for v in self._open]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), 0.4)

    def _hello_text(self) -> str:
        current = {"history": list(self._history), "status": status_fields(self._state.status)}
        return json.dumps({"type": "hello"} | self._hello | current)

    def _encode_newest(self) -> None:
        """Encode the newest result, unless it is already encoded."""
        result = self._state.result
        if result is None or result is self._encoded:
            return
        age = round(time.monotonic() - result.captured, 4)
        header = {"sequence": result.sequence, "age": age}
        heat = None
        if result.uncertainty is not None:
            heat = heat_levels(result.uncertainty, len(self._hello["classes"]))
        self._picture = encode_picture(result.frame, result.labels, header, heat)
        self._encoded = result
        self.pictures += 1

    def _accept_request(self, viewer: Viewer, kind: WSMsgType, data: Any) -> bool:
        """Count a request for a picture; return whether it was valid and within the limit."""
        if kind is not WSMsgType.TEXT or data != "next" or viewer.requests >= _MAX_REQUESTS:
            return False
        viewer.requests += 1
        self.wake()
        return True

    async def _write(self, viewer: Viewer, transport: asyncio.Transport | None) -> None:
        try:
            await viewer.write(self._patience)
        except (asyncio.TimeoutError, ConnectionError) as error:
            if isinstance(error, asyncio.TimeoutError):
                self._count_drop()
            if transport is not None:
                transport.abort()

    def _count_drop(self) -> None:
        self.dropped += 1
        _log.warning("viewer disconnected: it accepted no data for %.0f s", self._patience)

    def _add(self, viewer: Viewer) -> None:
        self._open.add(viewer)
        self._state.is_watched = True
        _log.info("viewer connected; %d now", len(self._open))

    def _discard(self, viewer: Viewer) -> None:
        self._open.discard(viewer)
        self._state.is_watched = bool(self._open)
        _log.info("viewer left; %d now", len(self._open))
