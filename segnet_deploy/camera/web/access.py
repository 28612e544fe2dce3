"""Access control: which requests are answered, by token, Host and Origin."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from segnet_deploy.camera.web.address import Endpoint
from segnet_deploy.errors import UsageError

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
_COMMAND = 'segnet-camera --serve {address} --token "$(openssl rand -hex 16)"'
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_COOKIE_SECONDS = 30 * 24 * 3600


def check_token(endpoint: Endpoint, token: str | None) -> None:
    """Raise UsageError if a token is missing, although other machines reach `endpoint`, or weak."""
    command = _COMMAND.format(address=endpoint.text)
    if token is None and not endpoint.is_loopback:
        raise UsageError(f"a token is required to serve at {endpoint.text}; try: {command}")
    if token is not None and not _TOKEN.fullmatch(token):
        raise UsageError(
            f"token of {len(token)} characters; expected at least 16 of A-Z a-z 0-9 . _ ~ -; "
            f"try: {command}"
        )


class Guard:
    """The application's middleware: accepts or refuses each request.

    The cookie contains an HMAC of the token, not the token, because cookies are shared by all
    ports of a host. It stays valid when the service restarts with the same token.
    """

    def __init__(self, token: str | None, port: int):
        self._token = token
        self._cookie_name = f"segnet-camera-{port}"
        self._cookie_value = hmac.new(
            (token or "").encode(), b"segnet-camera cookie", hashlib.sha256
        ).hexdigest()

    def middleware(self) -> Middleware:
        """Return the middleware for web.Application."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._check_origin(request)
            if self._token is None:
                self._check_host(request)
                return await handler(request)
            by_query = _equal(request.query.get("token"), self._token)
            if not (by_query or self._is_authenticated(request)):
                raise web.HTTPUnauthorized(
                    text="a token is required: open this address with ?token=…, or send "
                    "Authorization: Bearer …\n",
                    headers={"WWW-Authenticate": 'Bearer realm="segnet-camera"'},
                )
            response = await handler(request)
            if by_query and not response.prepared:
                self._set_cookie(response)
            return response

        return guard

    def _is_authenticated(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        by_header = scheme.lower() == "bearer" and _equal(given.strip(), self._token or "")
        return by_header or _equal(request.cookies.get(self._cookie_name), self._cookie_value)

    def _set_cookie(self, response: web.StreamResponse) -> None:
        response.set_cookie(
            self._cookie_name,
            self._cookie_value,
            max_age=_COOKIE_SECONDS,
            path="/",
            httponly=True,
            samesite="Strict",
        )

    @staticmethod
    def _check_origin(request: web.Request) -> None:
        """Refuse requests that pages of other sites send; browsers set the Origin header."""
        origin = request.headers.get("Origin")
        host = request.headers.get("Host", "").lower()
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise web.HTTPForbidden(text="requests from other sites are refused\n")

    @staticmethod
    def _check_host(request: web.Request) -> None:
        """Refuse host names other than localhost, against DNS rebinding to 127.0.0.1."""
        # Not request.host: without the header it queries the resolver.
        if _hostname(request.headers.get("Host", "")) not in _LOOPBACK_NAMES:
            raise web.HTTPForbidden(
                text="without a token, only localhost and 127.0.0.1 may be used as the host\n"
            )


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _equal(given: str | None, expected: str) -> bool:
    """Compare in constant time."""
    data = (given or "").encode("utf-8", "surrogateescape")
    return given is not None and hmac.compare_digest(data, expected.encode())
