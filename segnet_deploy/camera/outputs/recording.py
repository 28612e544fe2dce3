"""Record overlays as fragmented MP4: each fragment is playable as soon as it is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from segnet_deploy.camera.outputs.disk_space import LEAST_BYTES, DiskGuard
from segnet_deploy.camera.result import Result, Status
from segnet_deploy.classes import Colour
from segnet_deploy.errors import InputError
from segnet_deploy.optional import require
from segnet_deploy.overlay import overlay
from segnet_deploy.types import Frame

ENCODERS = ("libx264", "mpeg4")
TICKS = 90_000  # a second, in units of the file's times
FRAGMENT = 1.0  # seconds; what a kill can cost
MUXING = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
TUNING = {"preset": "ultrafast", "tune": "zerolatency", "crf": "26", "forced-idr": "1"}


class Recording:
    """Writes `out-00001.mp4`, `out-00002.mp4`, ... of about `segment` seconds each.

    Numbers go on after those that are there; nothing is overwritten. While the disk has less
    than `least_free` bytes, nothing is written. A frame of another size starts a segment.
    Raises InputError where the folder is missing.
    """

    def __init__(
        self,
        path: str | Path,
        palette: Sequence[Colour],
        alpha: float = 0.5,
        segment: float = 60.0,
        least_free: int = LEAST_BYTES,
    ):
        self._path, self._palette, self._alpha = Path(path), palette, alpha
        if not self._path.parent.is_dir():
            raise InputError(f"--record {path}: no folder {self._path.parent}; make it first")
        if self._path.suffix.lower() != ".mp4":
            raise InputError(f"--record {path}; expected a name that ends with .mp4")
        self._av: Any = require("av", extra="camera")
        self._encoder = _encoder(self._av)
        self._segment, self._disk = segment, DiskGuard(self._path.parent, least_free)
        self._number = _last_number(self._path)
        self._file: _Segment | None = None

    def show(self, result: Result) -> None:
        """Write the overlay of a result."""
        if not self._disk.has_room():
            self.close()
            return
        picture = overlay(result.frame, result.labels, self._palette, self._alpha)
        picture = picture[: picture.shape[0] & ~1, : picture.shape[1] & ~1]  # 4:2:0 is even
        file = self._file
        if file is None or not file.takes(picture, result.captured, self._segment):
            self.close()
            file = self._file = self._next(picture, result.captured)
        file.write(picture, result.captured)

    def tell(self, status: Status) -> None:
        """States are not recorded."""

    def close(self) -> None:
        """Finish the present segment."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self, picture: Frame, time: float) -> _Segment:
        self._number += 1
        path = self._path.with_name(f"{self._path.stem}-{self._number:05d}.mp4")
        return _Segment(self._av, self._encoder, path, picture, time)


class _Segment:
    def __init__(self, av: Any, encoder: str, path: Path, picture: Frame, time: float):
        self._av, self._shape, self._began = av, picture.shape, time
        self._last_ticks, self._key = -1, -FRAGMENT
        try:
            self._file = av.open(str(path), "w", format="mp4", container_options=MUXING)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        stream = self._file.add_stream(encoder, rate=30)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.time_base = Fraction(1, TICKS)
        codec.gop_size, codec.thread_count = 10_000, 1  # key frames by time; leave cores alone
        if encoder == "libx264":
            codec.options = TUNING
        else:
            codec.bit_rate = 2_000_000
        self._stream = stream

    def takes(self, picture: Frame, time: float, length: float) -> bool:
        """Tell whether a picture belongs into this segment."""
        return picture.shape == self._shape and 0 <= time - self._began < length

    def write(self, picture: Frame, time: float) -> None:
        """Encode a picture, at the time when it was captured."""
        frame = self._av.VideoFrame.from_ndarray(picture, format="bgr24")
        elapsed = time - self._began
        frame.pts = max(self._last_ticks + 1, round(elapsed * TICKS))
        frame.time_base = Fraction(1, TICKS)
        self._last_ticks = frame.pts
        if elapsed - self._key >= FRAGMENT:
            frame.pict_type = self._av.video.frame.PictureType.I
            self._key = elapsed
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder holds back, and the end of the file."""
        try:
            self._file.mux(self._stream.encode(None))
        finally:
            self._file.close()


def _encoder(av: Any) -> str:
    for name in ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except ValueError:  # PyAV's UnknownCodecError
            continue
        return name
    raise InputError(f"--record: PyAV has no encoder here; expected {' or '.join(ENCODERS)}")


def _last_number(path: Path) -> int:
    pattern = re.compile(re.escape(path.stem) + r"-(\d{5,})\.mp4")
    found = (pattern.fullmatch(other.name) for other in path.parent.iterdir())
    return max((int(match[1]) for match in found if match), default=0)
