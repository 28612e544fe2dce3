"""Access to the camera's web server: addresses, tokens, hosts, origins, paths."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import ClientSession, CookieJar
from pages import CLASSES, PALETTE, TOKEN, exchange, get, running

from segnet_deploy.camera.web import serve
from segnet_deploy.errors import InputError, UsageError


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_other_address_requires_a_token(address: str) -> None:
    with pytest.raises(UsageError, match=r"a token is required.*openssl rand"):
        serve(address, CLASSES, PALETTE)


@pytest.mark.parametrize("token", ["", "short", "0123456789abcdef ", "ä" * 20])
def test_weak_token_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="expected at least 16"):
        serve("127.0.0.1:0", CLASSES, PALETTE, token)


@pytest.mark.parametrize("path", ["", "page.js", "page.css", "metrics", "healthz", "live", "none"])
def test_every_path_requires_the_token(path: str) -> None:
    with running(token=TOKEN) as page:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "segnet-camera-1=x"}):
            assert get(page, path, **headers)[0] == 401
        assert get(page, path + "?token=wrong")[0] == 401
        assert get(page, path + "?token=%C3%A4%FF")[0] == 401


def test_token_is_accepted_as_bearer_or_in_the_address_and_then_as_cookie() -> None:
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


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_change_nothing_and_their_body_is_not_read(method: str) -> None:
    """Without the token 401; with it 405. A body of 1 GB is announced, and none is waited for."""
    request = f"{method} /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n"
    bearer = f"Authorization: Bearer {TOKEN}\r\n"
    with running(token=TOKEN) as page:
        assert exchange(page, f"{request}\r\n".encode()).startswith(b"HTTP/1.1 401")
        allowed = exchange(page, f"{request}{bearer}\r\n".encode())
        assert allowed.startswith(b"HTTP/1.1 405")
        assert get(page, "healthz", Authorization=f"Bearer {TOKEN}")[0] == 200
    with running() as page:
        assert exchange(page, f"{request}\r\n".encode()).startswith(b"HTTP/1.1 405")
        origin = "Origin: http://evil.example\r\n"
        assert exchange(page, f"{request}{origin}\r\n".encode()).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example"])
@pytest.mark.parametrize("token", [None, TOKEN])
def test_page_of_a_rebound_name_gets_no_picture(host: str, token: str | None) -> None:
    """DNS rebinding: the browser resolves the attacker's name to this machine.

    Host and Origin then agree, but the name is not this machine's, and the cookie, which
    belongs to another name, is not sent.
    """
    upgrade = (
        "GET /live HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with running(token=token) as page:
        name = host.format(port=page.url.split(":")[2].strip("/"))
        answer = exchange(page, upgrade.format(name).encode())
        assert answer.startswith(b"HTTP/1.1 403" if token is None else b"HTTP/1.1 401")
        assert exchange(page, b"GET / HTTP/1.0\r\n\r\n").split(b" ")[1] in (b"401", b"403")


def test_page_may_load_nothing_from_other_hosts() -> None:
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


@pytest.mark.parametrize(
    ("address", "message"),
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
def test_bad_address_is_one_line(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        serve(address, CLASSES, PALETTE, TOKEN)
    assert "\n" not in str(caught.value)


def test_port_in_use_is_one_line() -> None:
    with running() as page, pytest.raises(InputError, match="is in use"):
        serve(page.url.removeprefix("http://").strip("/"), CLASSES, PALETTE)


def test_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(InputError, match="not an address of this machine"):
        serve("192.0.2.1:0", CLASSES, PALETTE, TOKEN)


def test_port_alone_serves_on_loopback() -> None:
    with serve("0", CLASSES, PALETTE) as page:
        assert page.url.startswith("http://127.0.0.1:")


def test_ipv6_loopback_serves() -> None:
    try:
        page = serve("[::1]:0", CLASSES, PALETTE)
    except InputError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
    with page:
        assert get(page)[0] == 200


def test_every_address_serves_with_a_token() -> None:
    with serve("0.0.0.0:0", CLASSES, PALETTE, TOKEN) as page:
        port = page.url.split(":")[2].strip("/")
        page.url = f"http://127.0.0.1:{port}/"
        assert get(page)[0] == 401
        assert get(page, Authorization=f"Bearer {TOKEN}")[0] == 200
