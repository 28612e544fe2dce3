"""Decode the video of a file or of a network stream with PyAV."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from segnet_deploy.errors import UnreadableInputError
from segnet_deploy.frames.damage import is_complete_jpeg
from segnet_deploy.optional import require
from segnet_deploy.types import Frame


class VideoDecoder:
    """An open container and the decoder of its first video stream.

    `name` is what errors call it. With `strict`, frames that the decoder completed by guessing are
    left out too. `timeout` is in seconds, for opening and for each read. `packets` counts the
    packets read, `discarded` those that are not to be shown, `decoded` the intact frames and
    `damaged` those left out; `arrived` is the monotonic time of the last packet, in seconds.

    Raises UnreadableInputError if it cannot be opened, has no video, or no decoder is installed.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        options: Mapping[str, str] | None = None,
        timeout: float | None = None,
        strict: bool = False,
    ):
        self._av: Any = require("av", extra="camera")
        self.name, self._strict = name, strict
        self.packets = self.discarded = self.decoded = self.damaged = 0
        self.arrived = time.monotonic()
        self._errors = (self._av.error.FFmpegError, OSError, ValueError)
        self._url, self._options, self._timeout = url, dict(options or {}), timeout
        self._open()

    @property
    def lost(self) -> int:
        """The number of frames that could not be decoded so far."""
        return self.damaged

    def decode(self) -> list[Any] | None:
        """Read one packet; return its intact frames, often one or none, or None at the end.

        Raises UnreadableInputError if no packet can be read.
        """
        try:
            packet = next(self._packets, None)
        except self._errors as error:
            raise UnreadableInputError(f"{self.name}: {_reason(error)}") from error
        self.arrived = time.monotonic()
        if packet is None:
            return None
        self.packets += bool(packet.size)
        self.discarded += bool(packet.size and packet.is_discard)
        damaged = self._is_mjpeg and packet.size and not is_complete_jpeg(bytes(packet))
        try:
            frames = [] if damaged else packet.decode()
        except self._errors:
            frames, damaged = [], True
        intact = [frame for frame in frames if not frame.is_corrupt]
        # A file's packet with missing data may still give a frame that looks intact.
        incomplete = self._strict and packet.size and packet.is_corrupt
        self.damaged += max(bool(damaged or incomplete), len(frames) - len(intact))
        self.decoded += len(intact)
        return intact

    def to_bgr(self, frame: Any) -> Frame:
        """Return a decoded frame as (H, W, 3) uint8 BGR, turned and mirrored as it asks for."""
        array: Frame = self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        matrix = frame.side_data.get("DISPLAYMATRIX")
        return array if matrix is None else turn_upright(array, np.frombuffer(matrix, np.int32))

    def seconds(self, frame: Any) -> float | None:
        """Return the time at which a decoded frame is to be shown, or None if it has none."""
        time: float | None = frame.time
        return time

    def rewind(self) -> None:
        """Open it again: raw streams cannot seek. Raises UnreadableInputError."""
        self._container.close()
        self.packets = self.discarded = self.decoded = 0
        self._open()

    def close(self) -> None:
        """Close the container: its file or its socket."""
        self._container.close()

    def _open(self) -> None:
        try:
            self._container = self._av.open(
                self._url, options=dict(self._options), timeout=self._timeout
            )
        except self._errors as error:
            raise UnreadableInputError(f"cannot open {self.name}: {_reason(error)}") from error
        try:
            self._start()
        except BaseException:
            self._container.close()
            raise

    def _start(self) -> None:
        if not self._container.streams.video:
            raise UnreadableInputError(f"cannot open {self.name}: it has no video stream")
        self._stream = self._container.streams.video[0]
        codec = self._stream.codec_context
        if codec is None:
            raise UnreadableInputError(
                f"cannot open {self.name}: this build of PyAV has no decoder for its video; "
                "expected H.264, H.265, MJPEG or MPEG-4"
            )
        self._is_mjpeg = codec.name == "mjpeg"
        self._stream.thread_type = "SLICE"  # frame threads delay frames
        if self._strict:
            codec.options = {"err_detect": "explode"}
        self._reformatter = self._av.video.reformatter.VideoReformatter()
        self._packets = self._container.demux(self._stream)


def turn_upright(picture: Frame, matrix: np.ndarray[Any, np.dtype[np.int32]]) -> Frame:
    """Apply a display matrix (ISO 14496-12, nine values) to a picture (H, W, 3).

    It maps column x and row y to column a x + c y and row b x + d y, by quarters of a turn.
    """
    a, b, _, c, d = matrix.tolist()[:5]
    if abs(b) > abs(a):  # columns become rows
        picture, right, down = picture.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])


def _reason(error: Exception) -> str:
    """Return what failed, without the URL that FFmpeg adds: it may contain a password."""
    return getattr(error, "strerror", None) or str(error)
