"""The web page of the camera loop: live overlay, plots, `/metrics` and `/healthz`.

`page/` holds what the browser gets, `server` the thread that gives it; `access` says who may
ask. Modules that import aiohttp at their top are imported by `serve` only.
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
    """Start the page at `address`, 'HOST:PORT', in a thread of its own; port 0 takes a free one.

    The returned output has the page's `url`. `palette` is RGB. On another address than this
    machine's own loopback a `token` is required; each request must then carry it. At most
    `viewers` browsers watch at a time.
    Raises UsageError for an address or token that cannot be, InputError for a port that is
    taken, MissingDependencyError.
    """
    require("aiohttp", extra="web")
    require("cv2", extra="web")
    from segnet_deploy.camera.web.server import WebPage

    return WebPage(address, classes, palette, token, viewers)
