"""The open connections: a new one replaces the oldest that has no accepted request."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

MAX_CONNECTIONS = 256  # open at a time, viewers and others together


class Connections:
    """Passes new connections to the server of aiohttp, at most MAX_CONNECTIONS at a time.

    So connections that send nothing, or a request byte by byte, keep nobody out. Used on the
    server's event loop only.
    """

    def __init__(self) -> None:
        self._serving: set[object] = set()

    def middleware(self) -> Middleware:
        """Return the middleware that marks connections; to come after the access control."""

        @web.middleware
        async def mark(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._serving.add(request.protocol)
            try:
                return await handler(request)
            finally:
                self._serving.discard(request.protocol)

        return mark

    def accept(self, server: web.Server) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _NewConnection(self, server)

    def make_room(self, server: web.Server) -> bool:
        """Return whether one more may be open, after closing the oldest idle one if necessary."""
        present = [
            (handler, handler.transport)
            for handler in server.connections
            if handler.transport is not None and not handler.transport.is_closing()
        ]
        if len(present) < MAX_CONNECTIONS:
            return True
        for handler, transport in present:  # in the order in which they were opened
            if handler not in self._serving:
                transport.abort()
                return True
        return False


class _NewConnection(asyncio.Protocol):
    """Hands a connection over to aiohttp, or aborts it."""

    def __init__(self, connections: Connections, server: web.Server):
        self._connections, self._server = connections, server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._connections.make_room(self._server):
            transport.abort()
            return
        handler = self._server()
        transport.set_protocol(handler)
        handler.connection_made(transport)
