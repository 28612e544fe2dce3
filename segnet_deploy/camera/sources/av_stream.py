"""A stream that PyAV decodes: of a network camera or of a video file."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

from segnet_deploy.camera.sources.base import PendingFrame, SourceLostError, without_password
from segnet_deploy.errors import UnreadableInputError
from segnet_deploy.frames.decoder import VideoDecoder

MAX_GAP = 2.0  # seconds; a larger step in a file's timestamps is skipped
MIN_WAIT = 0.005  # seconds; a packet that took longer to arrive is not part of the backlog
MAX_BACKLOG = 1.0  # seconds after opening in which a backlog is dropped


@contextlib.contextmanager
def losses() -> Iterator[None]:
    """Raise what cannot be opened or read as SourceLostError, without a password."""
    try:
        yield
    except UnreadableInputError as error:
        raise SourceLostError(without_password(str(error))) from error


class AvStream:
    """The frames of a decoder, in time.

    `live` drops the backlog that accumulated while the stream was opened, and gives up after
    `timeout` seconds without an intact frame; `paced` plays at the stream's own speed; `loop`
    starts again at the end.
    """

    def __init__(
        self,
        decoder: VideoDecoder,
        timeout: float,
        *,
        live: bool = False,
        paced: bool = False,
        loop: bool = False,
    ):
        self._decoder, self._timeout = decoder, timeout
        self._live, self._paced, self._loop = live, paced, loop
        self._frames: deque[Any] = deque()
        self._last_frame = self._opened = time.monotonic()
        self._has_backlog = live
        self._base: float | None = None  # monotonic time of the stream's time 0

    @property
    def errors(self) -> int:
        """The number of frames that could not be decoded so far."""
        return self._decoder.lost

    def read(self) -> PendingFrame | None:
        """Decode until there is a frame; see Stream."""
        while not self._frames:
            requested = time.monotonic()
            with losses():
                frames = self._decoder.decode()
            if frames is None:
                if not self._rewind():
                    return None
                continue
            self._frames.extend(frames)
            if self._live and not frames and time.monotonic() - self._last_frame > self._timeout:
                raise SourceLostError(
                    f"{self._decoder.name}: data, but no frame for {self._timeout:g} s"
                )
            if self._has_backlog:
                self._drop_backlog(requested)
        frame = self._frames.popleft()
        self._last_frame = time.monotonic()
        if self._paced:
            self._pace(frame)
        return partial(self._decoder.to_bgr, frame)

    def close(self) -> None:
        """Close the file or the socket."""
        self._frames.clear()
        self._decoder.close()

    def _rewind(self) -> bool:
        """Restart a file that loops; return False at its end, or if it contained no frame."""
        if not self._loop or not self._decoder.decoded:
            return False
        self._decoder.rewind()
        self._base = None
        return True

    def _drop_backlog(self, requested: float) -> None:
        """Drop the frames that accumulated while the stream was opened."""
        now = time.monotonic()
        waited = self._decoder.arrived - requested > MIN_WAIT
        self._has_backlog = not waited and now - self._opened < MAX_BACKLOG
        if self._has_backlog:
            self._frames.clear()

    def _pace(self, frame: Any) -> None:
        """Wait until the frame is due; a gap in the stream's timestamps is skipped."""
        due = self._decoder.seconds(frame)
        if due is None:
            return
        now = time.monotonic()
        base = self._base
        if base is None or abs(base + due - now) > MAX_GAP:
            base = now - due
        self._base = base
        time.sleep(max(0.0, base + due - now))
