"""Malicious and unresponsive clients of the camera's web server; its shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType
from pages import TOKEN, exchange, get, result, running, showing, status, watch

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


def port_of(page: WebPage) -> int:
    return int(page.url.split(":")[2].strip("/"))


def closed(raw: socket.socket, patience: float = 0.001) -> bool:
    """Return whether the server closed a connection."""
    raw.settimeout(patience)
    try:
        return raw.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_connections_are_limited_and_the_oldest_idle_one_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("segnet_deploy.camera.web.connections.MAX_CONNECTIONS", 20)
    with running() as page:
        viewers = [handshake(page) for _ in range(3)]
        silent = [socket.create_connection(("127.0.0.1", port_of(page))) for _ in range(50)]
        time.sleep(0.2)
        assert [closed(raw) for raw in silent] == [True] * 33 + [False] * 17
        assert get(page)[0] == 200
        assert closed(silent[33], 5)
        for viewer in viewers:  # they are served: none was closed for the others
            assert len(viewer.recv(64)) == 64
        for raw in silent + viewers:
            raw.close()


@pytest.mark.parametrize("token", [None, TOKEN])
def test_two_hundred_slow_requests_keep_no_viewer_out(
    token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow-loris: each sends the beginning of a request and then a byte now and then."""
    monkeypatch.setattr("segnet_deploy.camera.web.connections.MAX_CONNECTIONS", 64)
    with running(token=token) as page, showing(page) as took:
        slow = []
        for number in range(200):
            slow.append(socket.create_connection(("127.0.0.1", port_of(page)), timeout=5))
            with contextlib.suppress(ConnectionError):
                slow[-1].sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n")
                slow[number // 2].sendall(b"X")
        shown = len(took)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}

        async def view() -> int:
            async with ClientSession(headers=headers) as session:
                viewer = await session.ws_connect(page.url + "live")
                for _ in range(10):
                    await viewer.send_str("next")
                    while (await viewer.receive(timeout=5)).type is not WSMsgType.BINARY:
                        pass
            return 10

        assert asyncio.run(view()) == 10
        assert get(page, "healthz", **headers)[0] == 200
        assert len(took) > shown
        for raw in slow:
            raw.close()
    assert sorted(took)[len(took) // 2] < 0.005


def test_hundred_viewers_at_once_get_pictures_or_a_clear_refusal() -> None:
    async def view(session: ClientSession, page: WebPage, enough: asyncio.Event) -> int | str:
        viewer = await session.ws_connect(page.url + "live")
        pictures = 0
        await viewer.send_str("next")
        while True:
            message = await viewer.receive(timeout=20)
            if message.type is WSMsgType.BINARY:
                pictures += 1
                if pictures == 3:
                    await enough.wait()  # keeps its place
                    return pictures
                await viewer.send_str("next")
            elif message.type is not WSMsgType.TEXT:
                return f"{viewer.close_code} {message.extra}"

    async def view_all(page: WebPage) -> list[int | str]:
        enough = asyncio.Event()
        connector = TCPConnector(limit=0)
        async with ClientSession(connector=connector) as session:
            tasks = [asyncio.ensure_future(view(session, page, enough)) for _ in range(100)]
            while sum(task.done() for task in tasks) < 92:
                await asyncio.sleep(0.02)
            enough.set()
            return list(await asyncio.gather(*tasks))

    with running() as page, showing(page) as took:
        answers = asyncio.run(asyncio.wait_for(view_all(page), 60))
        assert get(page)[0] == 200
    assert [answer for answer in answers if isinstance(answer, int)] == [3] * 8
    assert answers.count("1013 8 viewers are connected; close one") == 92
    assert sorted(took)[len(took) // 2] < 0.005


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
