"""What a source of frames is: a Source is opened into a Stream, which returns decoded frames.

A live source is opened again after each loss. A stream returns frames that are decoded but not
yet converted to BGR, so that a dropped frame costs no conversion.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from segnet_deploy.errors import InputError
from segnet_deploy.types import Frame, Size

PendingFrame = Callable[[], Frame]
"""A decoded frame; calling it converts it to (H, W, 3) uint8 BGR."""


class SourceLostError(InputError):
    """A source cannot be opened or ended unexpectedly; a live one is opened again."""


class Stream(Protocol):
    """An open source, used by one thread. No call blocks for much longer than the timeout."""

    @property
    def errors(self) -> int:
        """The number of damaged frames that were skipped so far; an attribute is enough."""

    def read(self) -> PendingFrame | None:
        """Wait for the next frame; None at the end. Raises SourceLostError."""

    def close(self) -> None:
        """Release device, socket and memory."""


class Source(Protocol):
    """A camera, stream or file that can be opened.

    `name` is safe to display: it contains no password. A source that is not `live` has an end,
    and is not opened again.
    """

    name: str
    live: bool

    def open(self, timeout: float) -> Stream:
        """Open it. `timeout`: seconds without a frame after which the source counts as lost.

        Raises SourceLostError, MissingDependencyError.
        """


@dataclass(frozen=True)
class SourceOptions:
    """Options of a source; each kind of source ignores those that do not apply to it.

    `size` is (height, width) in px and `fps` the frame rate that a device is asked for; for a
    folder, `fps` is images per second. `loop` restarts files and folders at their end; `paced`
    plays them at their own speed, else as fast as they are read. `rtsp_transport` is tcp or udp.
    """

    size: Size | None = None
    fps: float | None = None
    loop: bool = False
    paced: bool = True
    rtsp_transport: str = "tcp"


def without_password(text: str) -> str:
    """Return `text` with user and password masked in each URL.

    >>> without_password("rtsp://me:secret@host/stream")
    'rtsp://***@host/stream'
    """
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)
