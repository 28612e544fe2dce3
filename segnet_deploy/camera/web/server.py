"""The web server: aiohttp on its own thread, so that the camera loop never waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

import segnet_deploy
from segnet_deploy.camera.result import Result, Status
from segnet_deploy.camera.web.access import Guard, check_token
from segnet_deploy.camera.web.address import resolve
from segnet_deploy.camera.web.connections import Connections
from segnet_deploy.camera.web.shared_state import SharedState
from segnet_deploy.camera.web.telemetry import CONTENT_TYPE, health, prometheus_text
from segnet_deploy.camera.web.viewers import Viewers
from segnet_deploy.classes import Colour
from segnet_deploy.errors import EngineError

_log = logging.getLogger("segnet_deploy.camera")
_IDLE_TIMEOUT = 15.0  # seconds for a connection without a complete request
_START_TIMEOUT = 10.0  # seconds
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "segnet-camera",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class WebPage:
    """The output that serves the page; `url` is its address, without the token.

    A browser that accepts no data for `patience` seconds is disconnected.
    """

    def __init__(
        self,
        address: str,
        classes: Sequence[str],
        palette: Sequence[Colour],
        token: str | None,
        viewers: int,
        patience: float = 5.0,
    ):
        endpoint = resolve(address)
        check_token(endpoint, token)
        self._listener = endpoint.listen()
        port = int(self._listener.getsockname()[1])
        self.url = endpoint.url(port)
        self._guard = Guard(token, port)
        self._hello = {
            "version": segnet_deploy.__version__,
            "classes": [
                {"name": name, "colour": list(colour)}
                for name, colour in zip(classes, palette, strict=True)
            ],
        }
        self._limit, self._patience = viewers, patience
        self._state = SharedState()
        self._viewers: Viewers | None = None
        self._stop: Callable[[], None] = lambda: None
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="segnet-web", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT) or self._viewers is None:
            self.close()
            raise EngineError(f"the web server did not start at {endpoint.text}; see the log")

    @property
    def pictures(self) -> int:
        """The number of pictures encoded so far."""
        return 0 if self._viewers is None else self._viewers.pictures

    def show(self, result: Result) -> None:
        """Store the result for the viewers; nothing is copied or encoded here."""
        self._state.result = result
        self._state.report(result.status)
        if self._state.is_watched and self._viewers is not None:
            self._call(self._viewers.wake)

    def report(self, status: Status) -> None:
        """Store the status and send it to the viewers."""
        self._state.report(status)
        if self._viewers is not None:
            self._call(self._viewers.report, status)

    def close(self) -> None:
        """End server, connections and thread, within one second."""
        self._call(self._stop)
        self._thread.join(1.0)
        self._listener.close()

    def __enter__(self) -> WebPage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has been closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:  # the camera loop continues without the page
            _log.exception("the web server ended")
        finally:
            self._loop.close()
            self._ready.set()

    async def _serve(self) -> None:
        viewers = Viewers(self._state, self._hello, self._limit, self._patience)
        stopped = asyncio.Event()
        self._stop = stopped.set
        connections = Connections()
        runner = web.AppRunner(
            self._application(viewers, connections),
            access_log=None,
            logger=_log,
            keepalive_timeout=_IDLE_TIMEOUT,
            shutdown_timeout=0.2,
        )
        await runner.setup()
        server = runner.server
        assert server is not None
        listening = await self._loop.create_server(
            lambda: connections.accept(server), sock=self._listener
        )
        sending = asyncio.ensure_future(viewers.run())
        sending.add_done_callback(lambda _: stopped.set())
        self._viewers = viewers
        self._ready.set()
        try:
            await stopped.wait()
        finally:
            listening.close()
            sending.cancel()
            await viewers.close()
            await runner.cleanup()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    def _application(self, viewers: Viewers, connections: Connections) -> web.Application:
        middlewares = [self._guard.middleware(), connections.middleware()]
        app = web.Application(middlewares=middlewares, client_max_size=1024)
        app.on_response_prepare.append(_add_headers)
        page = files("segnet_deploy.camera.web") / "page"
        for path, (name, kind) in _PAGE.items():
            app.router.add_get(path, _constant((page / name).read_bytes(), kind))

        async def healthz(_: web.Request) -> web.StreamResponse:
            live, answer = health(self._state.status, self._state.silent_seconds())
            return web.json_response(answer, status=200 if live else 503)

        async def metrics(_: web.Request) -> web.StreamResponse:
            web_metrics = {
                "web_viewers": ("gauge", "Connected browsers.", float(len(viewers))),
                "web_pictures": ("counter", "Pictures encoded.", float(viewers.pictures)),
                "web_dropped": (
                    "counter",
                    "Viewers disconnected for being too slow.",
                    float(viewers.dropped),
                ),
            }
            text = prometheus_text(self._state.status, segnet_deploy.__version__, web_metrics)
            return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

        app.router.add_get("/healthz", healthz)
        app.router.add_get("/metrics", metrics)
        app.router.add_get("/live", viewers.handle)
        return app


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _constant(body: bytes, kind: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return answer
