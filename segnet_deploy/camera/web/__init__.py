"""The web page of the camera loop: live overlay, plots, `/metrics` and `/healthz`.

server            the aiohttp server, on its own thread
viewers           the connected browsers and the pictures that are sent to them
picture_message   the binary message with one frame and its labels
shared_state      the newest result and status, passed from the loop to the server
telemetry         the status as JSON, Prometheus text and health
access, address   which requests are answered, and where the server listens
connections       how many connections are open, and which one makes room for a new one
page/             what the browser loads

Modules that import aiohttp at their top are imported by `serve` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segnet_deploy.classes import Colour
from segnet_deploy.optional import require

if TYPE_CHECKING:
    from segnet_deploy.camera.web.server import WebPage


def serve(
    address: str,
    classes: Sequence[str],
    palette: Sequence[Colour],
    token: str | None = None,
    viewers: int = 8,
) -> WebPage:
    """Start the page at `address`, 'HOST:PORT', on its own thread; port 0 selects a free port.

    Returns an output whose `url` is the address of the page. `classes` are the names and `palette`
    the RGB colours by class id. On any address but a loopback address a `token` is required, which
    each request must then carry. At most `viewers` browsers may watch at a time.

        with Camera("segnet.onnx", "/dev/video0") as camera:
            metadata = camera.metadata
            page = serve("127.0.0.1:8080", metadata.classes, metadata.palette)
            camera.outputs.append(page)
            print(page.url)

    Raises UsageError (an invalid address, a missing or weak token), InputError (the port is in use
    or not allowed), EngineError (the server did not start), MissingDependencyError.
    """
    require("aiohttp", extra="web")
    require("cv2", extra="web")
    from segnet_deploy.camera.web.server import WebPage

    return WebPage(address, classes, palette, token, viewers)
