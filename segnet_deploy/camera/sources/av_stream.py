"""RTSP, HTTP (MJPEG and others) and video files, by PyAV."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

from segnet_deploy.camera.sources.base import Pending, SourceLostError, Wishes, without_password
from segnet_deploy.frames import is_complete
from segnet_deploy.optional import require
from segnet_deploy.types import Frame

# Little probing, a small reordering queue. Not `nobuffer`: it throws away what was probed, a key
# frame often, and the first picture then waits for the next one.
LOW_LATENCY = {
    "flags": "low_delay",
    "analyzeduration": "200000",
    "probesize": "500000",
}
RTSP = {"max_delay": "100000", "reorder_queue_size": "8"}
LARGEST_GAP = 2.0
BACKLOG_WAIT = 0.005  # a packet that had to be waited for is no backlog
LONGEST_BACKLOG = 1.0


class Network:
    """An rtsp(s):// or http(s):// URL."""

    live = True

    def __init__(self, url: str, wishes: Wishes):
        self._url = url
        self.name = without_password(url)
        self._options = dict(LOW_LATENCY)
        if url.lower().startswith("rtsp"):
            self._options |= RTSP | {"rtsp_transport": wishes.transport}

    def open(self, timeout: float) -> AvStream:
        """Connect; see Source."""
        return AvStream(self._url, self.name, self._options, timeout, live=True)


class File:
    """A video file, played at its own speed unless every frame counts."""

    live = False

    def __init__(self, path: Path, wishes: Wishes):
        self.name = str(path)
        self._wishes = wishes

    def open(self, timeout: float) -> AvStream:
        """Open it; see Source."""
        wishes = self._wishes
        return AvStream(self.name, self.name, {}, timeout, paced=wishes.paced, loop=wishes.loop)


class AvStream:
    """An open container and the decoder of its first video stream."""

    def __init__(
        self,
        url: str,
        name: str,
        options: dict[str, str],
        timeout: float,
        live: bool = False,
        paced: bool = False,
        loop: bool = False,
    ):
        self._av: Any = require("av", extra="camera")
        self._name, self._timeout = name, timeout
        self._paced, self._loop = paced, loop
        self._decoded: deque[Any] = deque()
        self.errors = 0
        self._container = self._open(url, options)
        try:
            self._start()
        except BaseException:
            self._container.close()
            raise
        self._last = self._began = self._arrived = time.monotonic()
        self._backlog = live

    def read(self) -> Pending | None:
        """Decode until there is a frame; see Stream."""
        while not self._decoded:
            asked = time.monotonic()
            try:
                packet = next(self._packets, None)
            except (self._av.error.FFmpegError, OSError) as error:
                raise SourceLostError(f"{self._name}: {_reason(error)}") from error
            if packet is None and not self._rewind():
                return None
            if packet is not None:
                self._decode(packet)
            if self._backlog:
                self._drop_backlog(asked)
        frame = self._decoded.popleft()
        self._frameless, self._last = False, time.monotonic()
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
        self._video.thread_type = "SLICE"  # frame threads hold frames back
        self._reformatter = self._av.video.reformatter.VideoReformatter()
        self._play()

    def _play(self) -> None:
        self._packets = self._container.demux(self._video)
        self._frameless = True
        self._base: float | None = None  # monotonic time of the stream's time 0

    def _rewind(self) -> bool:
        """Start again at the end of a file that loops; a file without frames must not."""
        if not self._loop or self._frameless:
            return False
        try:
            self._container.seek(0)
        except (self._av.error.FFmpegError, OSError) as error:
            raise SourceLostError(f"{self._name} cannot be rewound: {_reason(error)}") from error
        self._play()
        return True

    def _decode(self, packet: Any) -> None:
        self._arrived = time.monotonic()
        cut = self._is_mjpeg and packet.size and not is_complete(bytes(packet))
        try:
            frames = [] if cut else packet.decode()
        except (self._av.error.FFmpegError, ValueError):
            frames, cut = [], True
        self.errors += bool(cut)
        whole = [frame for frame in frames if not frame.is_corrupt]
        self.errors += len(frames) - len(whole)
        self._decoded.extend(whole)
        if not whole and time.monotonic() - self._last > self._timeout:
            raise SourceLostError(f"{self._name}: data, but no frame for {self._timeout:g} s")

    def _drop_backlog(self, asked: float) -> None:
        """Drop what had piled up while the stream was opened."""
        now = time.monotonic()
        waited = self._arrived - asked > BACKLOG_WAIT
        self._backlog = not waited and now - self._began < LONGEST_BACKLOG
        if self._backlog:
            self._decoded.clear()

    def _pace(self, frame: Any) -> None:
        """Wait until the frame's time has come; a gap in the stream's times is skipped."""
        if frame.time is None:
            return
        now = time.monotonic()
        base = self._base
        if base is None or abs(base + frame.time - now) > LARGEST_GAP:
            base = now - frame.time
        self._base = base
        time.sleep(max(0.0, base + frame.time - now))

    def _convert(self, frame: Any) -> Frame:
        """Convert to BGR; the array is a view of the picture that the conversion made."""
        array: Frame = self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        return array


def _reason(error: Exception) -> str:
    """Return what happened, without the URL that FFmpeg adds: it may hold a password."""
    return without_password(getattr(error, "strerror", None) or str(error))
