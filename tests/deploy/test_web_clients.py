"""Malicious and unresponsive clients of the camera's web server; its shutdown."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from pages import exchange, get, result, running, showing, status, watch

from segnet_deploy.camera.web.server import WebPage


def handshake(page: WebPage) -> socket.socket:
    """Open a WebSocket without a library, request two pictures, and read nothing more."""
    port = int(page.url.split(":")[2].strip("/"))
    raw = socket.create_connection(("127.0.0.1", port), timeout=5)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    raw.sendall(
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert raw.recv(12) == b"HTTP/1.1 101"
    masked_next = b"\x81\x84\0\0\0\0next"
    raw.sendall(masked_next * 2)
    return raw


def test_viewer_that_reads_nothing_delays_no_other_and_is_disconnected() -> None:
    async def act(viewer: ClientWebSocketResponse) -> int:
        pictures = 0
        while pictures < 25:
            await viewer.send_str("next")
            while (await viewer.receive(timeout=5)).type is not WSMsgType.BINARY:
                pass
            pictures += 1
        return pictures

    with running(patience=0.5) as page, showing(page) as took:
        slow = [handshake(page) for _ in range(3)]
        assert watch(page, act) == 25
        deadline = time.monotonic() + 10
        while "segnet_camera_web_viewers 0.0" not in get(page, "metrics")[2]:
            assert time.monotonic() < deadline, "the silent viewers are still connected"
            time.sleep(0.05)
        assert "segnet_camera_web_dropped_total 3.0" in get(page, "metrics")[2]
        for each in slow:
            each.close()
    assert len(took) > 25
    assert sorted(took)[len(took) // 2] < 0.005


def malformed(rng: random.Random) -> bytes:
    """Return a request with bytes changed, cut, repeated or inserted, or with oversized parts."""
    whole = (
        b"GET /%s HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
        b'Cookie: segnet-camera-80=1; a="b\r\nAuthorization: Bearer x\r\n'
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nContent-Length: 3\r\n\r\nabc"
    ) % rng.choice([b"", b"live", b"metrics?token=%ff", b"healthz", b"a" * 9000])
    data = bytearray(whole)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data))
        change = rng.randrange(5)
        if change == 0:
            data[at] = rng.randrange(256)
        elif change == 1:
            del data[at:]
        elif change == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 40))
        elif change == 3:
            data[at:at] = data[:at][-60:] * rng.randint(1, 200)
        else:
            data[at:at] = rng.choice([b"\r\n", b"\0", b"Content-Length: -1\r\n", b"%", b"\xff"])
        data = data or bytearray(b"\n")
    return bytes(data)


def test_server_survives_two_hundred_malformed_requests() -> None:
    rng = random.Random(12)
    with running() as page, showing(page):
        answers = [exchange(page, malformed(rng), 0.1) for _ in range(200)]
        assert get(page)[0] == 200
        assert get(page, "healthz")[0] == 200
    statuses = {answer.split(b" ")[1] for answer in answers if answer.startswith(b"HTTP/")}
    assert b"400" in statuses
    assert not any(code.startswith(b"5") for code in statuses - {b"503"})


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_connection_without_a_complete_request_is_closed(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("segnet_deploy.camera.web.server._IDLE_TIMEOUT", 0.2)
    with running() as page:
        port = int(page.url.split(":")[2].strip("/"))
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(sent)
            assert raw.recv(100) == b""


def test_connections_are_limited() -> None:
    with running() as page:
        port = int(page.url.split(":")[2].strip("/"))
        silent = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(90)]
        time.sleep(0.2)
        ended = 0
        for raw in silent:
            raw.settimeout(0.001)
            try:
                ended += raw.recv(1) == b""
            except ConnectionError:
                ended += 1
            except TimeoutError:
                pass
            raw.close()
        assert ended == 90 - 64
        time.sleep(0.2)
        assert get(page)[0] == 200


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc/self/fd")
def test_close_ends_thread_and_sockets_within_a_second() -> None:
    with running():  # opens what is opened once per process
        pass
    before = descriptors(), threading.active_count()
    with running() as page, showing(page):
        clients = [handshake(page) for _ in range(4)]
        clients.append(socket.create_connection(clients[0].getpeername()))
        clients[-1].sendall(b"GET / HT")
        time.sleep(0.2)
        started = time.monotonic()
        page.close()
        took = time.monotonic() - started
        page.show(result())  # has no effect
        page.report(status())
        page.close()
    for client in clients:
        client.close()
    assert took < 1.0
    assert (descriptors(), threading.active_count()) == before
