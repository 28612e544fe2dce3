"""Record overlays as fragmented MP4: each fragment is playable as soon as it is written.

A file gets its name with its first fragment, so even after a kill no file of that name is empty.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from segnet_deploy.camera.outputs.disk_space import MIN_FREE_BYTES, DiskGuard
from segnet_deploy.camera.result import Result, Status
from segnet_deploy.classes import Colour
from segnet_deploy.errors import InputError
from segnet_deploy.optional import require
from segnet_deploy.overlay import overlay
from segnet_deploy.types import Frame

ENCODERS = ("libx264", "mpeg4")
TICKS = 90_000  # timestamp units per second
FRAGMENT = 1.0  # seconds; the most that is lost if the process is killed
MUXING = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
TUNING = {"preset": "ultrafast", "tune": "zerolatency", "crf": "26", "forced-idr": "1"}


class Recording:
    """Writes `out-00001.mp4`, `out-00002.mp4`, ... of about `segment` seconds each.

    Numbers continue after those of existing files; nothing is overwritten. `palette` is RGB,
    `alpha` the weight of the colours, 0 to 1. While the disk has less than `min_free_bytes` free,
    nothing is written. A frame of another size starts a new segment.
    Raises InputError if the folder is missing, the name does not end with .mp4 or PyAV has no
    encoder; MissingDependencyError.
    """

    def __init__(
        self,
        path: str | Path,
        palette: Sequence[Colour],
        alpha: float = 0.5,
        segment: float = 60.0,
        min_free_bytes: int = MIN_FREE_BYTES,
    ):
        self._path, self._palette, self._alpha = Path(path), palette, alpha
        if not self._path.parent.is_dir():
            raise InputError(
                f"cannot record to {path}: no folder {self._path.parent}; create it first"
            )
        if self._path.suffix.lower() != ".mp4":
            raise InputError(f"cannot record to {path}; expected a name that ends with .mp4")
        self._av: Any = require("av", extra="camera")
        self._encoder = _encoder(self._av)
        self._seconds, self._disk = segment, DiskGuard(self._path.parent, min_free_bytes)
        self._number = _last_number(self._path)
        self._segment: _Segment | None = None

    def show(self, result: Result) -> None:
        """Write the overlay of a result."""
        if not self._disk.has_room():
            self.close()
            return
        picture = overlay(result.frame, result.labels, self._palette, self._alpha)
        picture = picture[: picture.shape[0] & ~1, : picture.shape[1] & ~1]  # 4:2:0 needs even size
        segment = self._segment
        if segment is None or not segment.accepts(picture, result.captured, self._seconds):
            self.close()
            segment = self._segment = self._next(picture, result.captured)
        segment.write(picture, result.captured)

    def report(self, status: Status) -> None:
        """Ignore the status."""

    def close(self) -> None:
        """Finish the current segment."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _next(self, picture: Frame, time: float) -> _Segment:
        self._number += 1
        path = self._path.with_name(f"{self._path.stem}-{self._number:05d}.mp4")
        return _Segment(self._av, self._encoder, path, picture, time)


class _Segment:
    """One file. `time` is when its first picture was captured, in seconds."""

    def __init__(self, av: Any, encoder: str, path: Path, picture: Frame, time: float):
        self._av, self._shape, self._began = av, picture.shape, time
        self._last_ticks, self._last_key = -1, -FRAGMENT
        self._path, self._partial = path, path.with_name(f".{path.name}.part")
        self._keys, self._is_named = 0, False
        try:
            self._file = av.open(
                f"file:{self._partial}", "w", format="mp4", container_options=MUXING
            )
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        stream = self._file.add_stream(encoder, rate=30)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.time_base = Fraction(1, TICKS)
        codec.gop_size = 10_000  # key frames are set by time, in write
        codec.thread_count = 1  # leave the other cores to the engine
        if encoder == "libx264":
            codec.options = TUNING
        else:
            codec.bit_rate = 2_000_000
        self._stream = stream

    def accepts(self, picture: Frame, time: float, length: float) -> bool:
        """Return whether a picture belongs to this segment of `length` seconds."""
        return picture.shape == self._shape and 0 <= time - self._began < length

    def write(self, picture: Frame, time: float) -> None:
        """Encode a picture with the time at which it was captured."""
        frame = self._av.VideoFrame.from_ndarray(picture, format="bgr24")
        elapsed = time - self._began
        frame.pts = max(self._last_ticks + 1, round(elapsed * TICKS))
        frame.time_base = Fraction(1, TICKS)
        self._last_ticks = frame.pts
        if elapsed - self._last_key >= FRAGMENT:
            frame.pict_type = self._av.video.frame.PictureType.I
            self._last_key = elapsed
        self._mux(frame)
        if self._keys > 1 and not self._is_named:  # a key frame ends the fragment before it
            with contextlib.suppress(PermissionError):  # Windows renames no open file: in close
                self._name_file()

    def close(self) -> None:
        """Flush the encoder and finish the file."""
        try:
            self._mux(None)
        finally:
            self._file.close()
        if not self._is_named:
            self._name_file()

    def _mux(self, frame: Any) -> None:
        packets = self._stream.encode(frame)
        self._keys += sum(packet.is_keyframe for packet in packets)
        self._file.mux(packets)

    def _name_file(self) -> None:
        self._partial.replace(self._path)
        self._is_named = True


def _encoder(av: Any) -> str:
    for name in ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except ValueError:  # PyAV's UnknownCodecError
            continue
        return name
    raise InputError(f"cannot record: PyAV has no encoder; expected {' or '.join(ENCODERS)}")


def _last_number(path: Path) -> int:
    pattern = re.compile(re.escape(path.stem) + r"-(\d{5,})\.mp4")
    matches = (pattern.fullmatch(other.name) for other in path.parent.iterdir())
    return max((int(match[1]) for match in matches if match), default=0)
