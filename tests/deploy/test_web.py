"""The camera's web server, asked by real clients: pictures, tokens, hostile input, its end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, CookieJar, WSMsgType
from pages import CLASSES, PALETTE, TOKEN, result, running, showing, status
from prometheus_client.parser import text_string_to_metric_families

from segnet_deploy.errors import InputError, UsageError
from segnet_deploy.web import serve
from segnet_deploy.web.picture import MAX_WIDTH_PX, encode, run_lengths
from segnet_deploy.web.server import WebPage

Answer = tuple[int, dict[str, str], str]


def get(page: WebPage, path: str = "", **headers: str) -> Answer:
    """Return status, headers and text of a GET; names with _ for -."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(page.url + path, headers=names)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def watch(page: WebPage, act: Callable[[ClientWebSocketResponse], Awaitable[Any]]) -> Any:
    async def connect() -> Any:
        async with ClientSession() as session, session.ws_connect(page.url + "live") as viewer:
            return await act(viewer)

    return asyncio.run(connect())


def read_picture(message: bytes) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return header, labels and frame of a message, read apart from the code that wrote it."""
    (size,) = struct.unpack_from("<I", message)
    header = json.loads(message[4 : 4 + size])
    runs = header["runs"]
    lengths = np.frombuffer(message, "<u2", runs, 4 + size)
    ids = np.frombuffer(message, np.uint8, runs, 4 + size + 2 * runs)
    labels = np.repeat(ids, lengths).reshape(header["height"], header["width"])
    jpeg = np.frombuffer(message, np.uint8, offset=4 + size + 3 * runs)
    return header, labels, cv2.imdecode(jpeg, cv2.IMREAD_COLOR)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (33, 47), (2, 65535)])
@pytest.mark.parametrize("classes", [1, 2, 256])
def test_runs_give_the_labels_back(shape: tuple[int, int], classes: int) -> None:
    labels = np.random.default_rng(0).integers(0, classes, shape, dtype=np.uint8)
    lengths, ids = run_lengths(labels)
    np.testing.assert_array_equal(np.repeat(ids, lengths).reshape(shape), labels)


def test_picture_holds_frame_and_exact_labels() -> None:
    shown = result(3)
    smooth = cv2.blur(shown.frame, (9, 9))  # JPEG is no friend of noise
    header, labels, frame = read_picture(encode(smooth, shown.labels, {"sequence": 3}))
    assert header["sequence"] == 3
    np.testing.assert_array_equal(labels, shown.labels)
    assert np.abs(frame.astype(int) - smooth).mean() < 3


def test_wide_picture_is_scaled_down() -> None:
    shown = result(0, 90, 2 * MAX_WIDTH_PX)
    header, labels, frame = read_picture(encode(shown.frame, shown.labels, {}))
    assert (header["width"], header["height"]) == (MAX_WIDTH_PX, 45)
    assert labels.shape == frame.shape[:2] == (45, MAX_WIDTH_PX)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_viewer_gets_hello_then_a_picture_for_each_it_asks_for() -> None:
    async def act(viewer: ClientWebSocketResponse) -> Any:
        hello = json.loads(await viewer.receive_str(timeout=5))
        with pytest.raises(asyncio.TimeoutError):
            await viewer.receive(timeout=0.2)  # nothing unasked
        await viewer.send_str("next")
        return hello, await viewer.receive_bytes(timeout=5)

    with running() as page:
        hello, picture = watch(page, act)
    assert [entry["name"] for entry in hello["classes"]] == list(CLASSES)
    assert [tuple(entry["colour"]) for entry in hello["classes"]] == list(PALETTE)
    assert hello["status"]["state"] == "live"
    assert "secret" not in hello["status"]["source"]
    np.testing.assert_array_equal(read_picture(picture)[1], result().labels)


def test_viewer_that_pauses_gets_the_newest_picture() -> None:
    async def act(viewer: ClientWebSocketResponse) -> list[int]:
        sequences = []
        for number in range(40):
            page.show(result(number))
            if number in (0, 39):
                await viewer.send_str("next")
                while (message := await viewer.receive(timeout=5)).type is not WSMsgType.BINARY:
                    pass
                sequences.append(read_picture(message.data)[0]["sequence"])
        return sequences

    with running() as page:
        assert watch(page, act) == [0, 39]


def test_state_reaches_viewers_and_their_plots() -> None:
    async def act(viewer: ClientWebSocketResponse) -> Any:
        hello = json.loads(await viewer.receive_str(timeout=5))
        page.tell(status("stalled", rss_bytes=1000))
        return hello, json.loads(await viewer.receive_str(timeout=5))

    with running() as page:
        page.tell(status(frames_per_second=float("nan")))
        hello, said = watch(page, act)
    assert [sample[0] for sample in hello["history"]] == [0.0, None]
    assert said["type"] == "status"
    assert said["status"]["state"] == "stalled"
    assert said["status"]["rss_bytes"] == 1000


@pytest.mark.parametrize("text", ["next next", "x" * 200, "x" * 2000])
def test_viewer_that_says_anything_else_is_sent_away(text: str) -> None:
    async def act(viewer: ClientWebSocketResponse) -> Any:
        await viewer.receive_str(timeout=5)
        await viewer.send_str(text)
        await viewer.receive(timeout=5)
        return viewer.close_code

    with running() as page:
        assert watch(page, act) in (1008, 1009)


def test_viewer_that_asks_too_often_is_sent_away() -> None:
    async def act(viewer: ClientWebSocketResponse) -> Any:
        for _ in range(50):
            await viewer.send_str("next")
        while not viewer.closed:
            await viewer.receive(timeout=5)
        return viewer.close_code

    with running() as page:
        assert watch(page, act) == 1008


def test_one_viewer_too_many_is_told_so() -> None:
    async def connect() -> tuple[Any, int | None]:
        async with ClientSession() as session:
            first = await session.ws_connect(page.url + "live")
            await first.receive_str(timeout=5)
            second = await session.ws_connect(page.url + "live")
            refusal = await second.receive(timeout=5)
            return refusal.extra, second.close_code

    with running(viewers=1) as page:
        reason, code = asyncio.run(connect())
    assert code == 1013
    assert "1 viewers are connected" in reason


def handshake(page: WebPage) -> socket.socket:
    """Open a WebSocket by hand, ask for two pictures, and read nothing more."""
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


def test_viewer_that_reads_nothing_slows_nobody_and_is_dropped() -> None:
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
            assert time.monotonic() < deadline, "the silent viewers are still there"
            time.sleep(0.05)
        for each in slow:
            each.close()
    assert len(took) > 25
    assert sorted(took)[len(took) // 2] < 0.005


def test_nothing_is_encoded_while_nobody_watches() -> None:
    with running() as page:
        for number in range(50):
            page.show(result(number))
        assert "segnet_camera_web_pictures_total 0.0" in get(page, "metrics")[2]


def test_metrics_are_what_prometheus_reads() -> None:
    with running() as page:
        page.tell(status("reconnecting", captured=7, age=0.25, rss_bytes=None))
        code, headers, text = get(page, "metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert code == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert all(name.startswith("segnet_camera_") for name in families)
    captured = families["segnet_camera_frames_captured"]
    assert (captured.type, captured.samples[0].value) == ("counter", 7.0)
    assert families["segnet_camera_age_seconds"].samples[0].value == 0.25
    states = {s.labels["state"]: s.value for s in families["segnet_camera_state"].samples}
    assert states.pop("reconnecting") == 1
    assert not any(states.values())
    assert "secret" not in text


@pytest.mark.parametrize(
    ("state", "code"), [("live", 200), ("connecting", 503), ("stalled", 503), ("reconnecting", 503)]
)
def test_health_is_the_state(state: str, code: int) -> None:
    with running() as page:
        page.tell(status(state))
        answered, _, text = get(page, "healthz")
    assert answered == code
    assert json.loads(text)["state"] == state


def test_loop_that_says_nothing_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segnet_deploy.web.metrics._SILENT_SECONDS", 0.05)
    with running() as page:
        time.sleep(0.1)
        code, _, text = get(page, "healthz")
    assert code == 503
    assert json.loads(text)["responds"] is False


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_other_address_requires_a_token(address: str) -> None:
    with pytest.raises(UsageError, match=r"a token is required.*openssl rand"):
        serve(address, CLASSES, PALETTE)


@pytest.mark.parametrize("token", ["", "short", "0123456789abcdef ", "ä" * 20])
def test_weak_token_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="expected at least 16"):
        serve("127.0.0.1:0", CLASSES, PALETTE, token)


@pytest.mark.parametrize("path", ["", "page.js", "page.css", "metrics", "healthz", "live", "none"])
def test_without_the_token_nothing_is_answered(path: str) -> None:
    with running(token=TOKEN) as page:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "segnet-camera-1=x"}):
            assert get(page, path, **headers)[0] == 401
        assert get(page, path + "?token=wrong")[0] == 401
        assert get(page, path + "?token=%C3%A4%FF")[0] == 401


def test_token_is_taken_as_bearer_or_as_cookie_from_the_address() -> None:
    async def browse() -> list[int]:
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            codes = []
            for path in ("", f"?token={TOKEN}", "", "page.js"):
                async with session.get(page.url + path) as answer:
                    codes.append(answer.status)
            viewer = await session.ws_connect(page.url + "live")
            assert json.loads(await viewer.receive_str(timeout=5))["type"] == "hello"
            return codes

    with running(token=TOKEN) as page:
        assert get(page, "metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
        cookie = get(page, f"?token={TOKEN}")[1]["Set-Cookie"]
        assert asyncio.run(browse()) == [401, 200, 200, 200]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie


def test_foreign_host_and_origin_are_refused() -> None:
    with running() as page:
        port = page.url.split(":")[2].strip("/")
        assert get(page, Host="evil.example")[0] == 403
        assert get(page, Host=f"127.0.0.1.evil.example:{port}")[0] == 403
        assert get(page, Host=f"localhost:{port}")[0] == 200
        assert get(page, Host="[::1]:9000")[0] == 200
        for origin in ("http://evil.example", "null", "http://[", f"http://localhost:{port}"):
            assert get(page, "healthz", Origin=origin)[0] == 403
        assert get(page, "healthz", Origin=page.url.rstrip("/"))[0] == 200
    with running(token=TOKEN) as page:
        bearer = f"Bearer {TOKEN}"
        assert get(page, Host="camera.lan", Authorization=bearer)[0] == 200
        refused = get(page, "live", Origin="http://evil.example", Authorization=bearer)
        assert refused[0] == 403


def test_page_may_load_nothing_from_elsewhere() -> None:
    with running() as page:
        _, headers, html = get(page)
        script = get(page, "page.js")[2]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html + script


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/server.py",
        "//etc/passwd",
        "/page/index.html",
        "/page.js/../../server.py",
        "/page.js%00.png",
        "/..\\..\\server.py",
        "/static/../server.py",
        "/file:///etc/passwd",
    ],
)
def test_no_path_leads_to_a_file(path: str) -> None:
    with running() as page:
        answer = exchange(page, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin1"))
    assert answer.split(b" ")[1] in (b"400", b"404")
    assert b"root:" not in answer
    assert b"import" not in answer


def exchange(page: WebPage, data: bytes, patience: float = 5.0) -> bytes:
    """Send bytes and return the answer's beginning, empty where none comes."""
    port = int(page.url.split(":")[2].strip("/"))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        try:
            raw.sendall(data)
            raw.settimeout(patience)
            return raw.recv(65536)
        except OSError:
            return b""


def malformed(rng: random.Random) -> bytes:
    """A request with bytes changed, cut, repeated or inserted; a body, length or header too big."""
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


def test_server_stands_two_hundred_malformed_requests() -> None:
    rng = random.Random(12)
    with running() as page, showing(page):
        answers = [exchange(page, malformed(rng), 0.1) for _ in range(200)]
        assert get(page)[0] == 200
        assert get(page, "healthz")[0] == 200
    statuses = {answer.split(b" ")[1] for answer in answers if answer.startswith(b"HTTP/")}
    assert b"400" in statuses
    assert not any(code.startswith(b"5") for code in statuses - {b"503"})


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_connection_without_a_whole_request_ends(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("segnet_deploy.web.server._IDLE_SECONDS", 0.2)
    with running() as page:
        port = int(page.url.split(":")[2].strip("/"))
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(sent)
            assert raw.recv(100) == b""


def test_connections_are_bounded() -> None:
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


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "expected HOST:PORT"),
        (":8080", "expected HOST:PORT"),
        ("127.0.0.1:", "expected HOST:PORT"),
        ("127.0.0.1:http", "expected HOST:PORT"),
        ("127.0.0.1:65536", "expected HOST:PORT"),
        ("127.0.0.1:-1", "expected HOST:PORT"),
        ("127.0.0.1:٣", "expected HOST:PORT"),
        ("::1:8080", "expected HOST:PORT"),
        ("a..b:8080", "no address for host"),
        ("x" * 300 + ":8080", "no address for host"),
    ],
)
def test_bad_address_is_one_line(address: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        serve(address, CLASSES, PALETTE, TOKEN)
    assert "\n" not in str(caught.value)


def test_port_in_use_is_one_line() -> None:
    with running() as page, pytest.raises(InputError, match="is in use"):
        serve(page.url.removeprefix("http://").strip("/"), CLASSES, PALETTE)


def test_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(InputError, match="no address of this machine"):
        serve("192.0.2.1:0", CLASSES, PALETTE, TOKEN)


def test_port_alone_is_this_machine() -> None:
    with serve("0", CLASSES, PALETTE) as page:
        assert page.url.startswith("http://127.0.0.1:")


def test_ipv6_loopback_serves() -> None:
    try:
        page = serve("[::1]:0", CLASSES, PALETTE)
    except InputError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with page:
        assert get(page)[0] == 200


def test_every_address_serves_with_a_token() -> None:
    with serve("0.0.0.0:0", CLASSES, PALETTE, TOKEN) as page:
        port = page.url.split(":")[2].strip("/")
        page.url = f"http://127.0.0.1:{port}/"
        assert get(page)[0] == 401
        assert get(page, Authorization=f"Bearer {TOKEN}")[0] == 200


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc/self/fd")
def test_close_ends_thread_and_sockets_within_a_second() -> None:
    with running():  # loads what loads once
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
        page.show(result())  # harmless
        page.tell(status())
        page.close()
    for client in clients:
        client.close()
    assert took < 1.0
    assert (descriptors(), threading.active_count()) == before
