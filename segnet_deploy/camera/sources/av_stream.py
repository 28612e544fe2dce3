"""A stream that PyAV decodes: of a network camera or of a video file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any

from segnet_deploy.camera.sources.base import PendingFrame, SourceLostError, without_password
from segnet_deploy.frames import is_complete
from segnet_deploy.optional import require
from segnet_deploy.types import Frame

MAX_GAP = 2.0  # seconds; a larger step in a file's timestamps is skipped
MIN_WAIT = 0.005  # seconds; a packet that took longer to arrive is not part of the backlog
MAX_BACKLOG = 1.0  # seconds after opening in which a backlog is dropped


class AvStream:
    """An open container and the decoder of its first video stream.

    `live` drops the backlog that accumulated while the stream was opened; `paced` plays at the
    stream's own speed; `loop` starts again at the end.
    """

    def __init__(
        self,
        url: str,
        name: str,
        timeout: float,
        options: Mapping[str, str] | None = None,
        *,
        live: bool = False,
        paced: bool = False,
        loop: bool = False,
    ):
        self._av: Any = require("av", extra="camera")
        self._name, self._timeout = name, timeout
        self._paced, self._loop = paced, loop
        self._decoded: deque[Any] = deque()
        self.errors = 0
        self._container = self._open(url, dict(options or {}))
        try:
            self._start()
        except BaseException:
            self._container.close()
            raise
        self._last_frame = self._opened = self._arrived = time.monotonic()
        self._has_backlog = live

    def read(self) -> PendingFrame | None:
        """Decode until there is a frame; see Stream."""
        while not self._decoded:
            requested = time.monotonic()
            try:
                packet = next(self._packets, None)
            except (self._av.error.FFmpegError, OSError) as error:
                raise SourceLostError(f"{self._name}: {_reason(error)}") from error
            if packet is None and not self._rewind():
                return None
            if packet is not None:
                self._decode(packet)
            if self._has_backlog:
                self._drop_backlog(requested)
        frame = self._decoded.popleft()
        self._is_empty, self._last_frame = False, time.monotonic()
        if self._paced:
            self._pace(frame)
        return partial(self._convert, frame)

    def close(self) -> None:
        """Close the container and its socket."""
        self._decoded.clear()
        self._container.close()

    def _open(self, url: str, options: dict[str, str]) -> Any:
        try:
            return self._av.open(url, options=options, timeout=(self._timeout, self._timeout))
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceLostError(f"cannot open {self._name}: {_reason(error)}") from error

    def _start(self) -> None:
        if not self._container.streams.video:
            raise SourceLostError(f"{self._name} has no video; expected a video stream")
        self._video = self._container.streams.video[0]
        if self._video.codec_context is None:
            raise SourceLostError(
                f"{self._name}: this build of PyAV has no decoder for its video; expected H.264, "
                "H.265, MJPEG or MPEG-4"
            )
        self._is_mjpeg = self._video.codec_context.name == "mjpeg"
        self._video.thread_type = "SLICE"  # frame threads delay frames
        self._reformatter = self._av.video.reformatter.VideoReformatter()
        self._play()

    def _play(self) -> None:
        self._packets = self._container.demux(self._video)
        self._is_empty = True  # no frame yet since the start of the container
        self._base: float | None = None  # monotonic time of the stream's time 0

    def _rewind(self) -> bool:
        """Restart a file that loops; return False at its end, or if it contained no frame."""
        if not self._loop or self._is_empty:
            return False
        try:
            self._container.seek(0)
        except (self._av.error.FFmpegError, OSError) as error:
            raise SourceLostError(f"{self._name} cannot be rewound: {_reason(error)}") from error
        self._play()
        return True

    def _decode(self, packet: Any) -> None:
        self._arrived = time.monotonic()
        damaged = self._is_mjpeg and packet.size and not is_complete(bytes(packet))
        try:
            frames = [] if damaged else packet.decode()
        except (self._av.error.FFmpegError, ValueError):
            frames, damaged = [], True
        self.errors += bool(damaged)
        intact = [frame for frame in frames if not frame.is_corrupt]
        self.errors += len(frames) - len(intact)
        self._decoded.extend(intact)
        if not intact and time.monotonic() - self._last_frame > self._timeout:
            raise SourceLostError(f"{self._name}: data, but no frame for {self._timeout:g} s")

    def _drop_backlog(self, requested: float) -> None:
        """Drop the frames that accumulated while the stream was opened."""
        now = time.monotonic()
        waited = self._arrived - requested > MIN_WAIT
        self._has_backlog = not waited and now - self._opened < MAX_BACKLOG
        if self._has_backlog:
            self._decoded.clear()

    def _pace(self, frame: Any) -> None:
        """Wait until the frame is due; a gap in the stream's timestamps is skipped."""
        if frame.time is None:
            return
        now = time.monotonic()
        base = self._base
        if base is None or abs(base + frame.time - now) > MAX_GAP:
            base = now - frame.time
        self._base = base
        time.sleep(max(0.0, base + frame.time - now))

    def _convert(self, frame: Any) -> Frame:
        """Convert to BGR; the array is a view of the converted picture."""
        array: Frame = self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        return array


def _reason(error: Exception) -> str:
    """Return what failed, without the URL that FFmpeg adds: it may contain a password."""
    return without_password(getattr(error, "strerror", None) or str(error))
