"""Video files: all their frames, past damage, and the number of those that were lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segnet_deploy.errors import UnreadableInputError
from segnet_deploy.frames.decoder import VideoDecoder
from segnet_deploy.types import Frame

_DEFAULT_FPS = 25.0
# So much may be missing without damage: some files state a little more than they contain.
_TOLERANCE_FRAMES, _TOLERANCE_SECONDS = 2, 1.0


class Video(VideoDecoder):
    """An open video file. Iterate `frames()` once, or call `decode` and `to_bgr`.

    `fps` is frames per second; `count` is what the file states, 0 if unknown.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | None = None):
        # With the protocol, since a name such as 12:30.mp4 would be taken for one.
        super().__init__(f"file:{os.fspath(path)}", name or str(path), strict=True)
        self.path = Path(path)
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        self.fps = rate if 0 < rate < 1000 else _DEFAULT_FPS
        self.count = max(0, int(self._stream.frames))
        self._duration = _duration(self._stream)
        self._last: float | None = None  # time of the last frame, in seconds
        self._at_end, self._asked = False, 0

    @property
    def lost(self) -> int:
        """The number of frames that could not be decoded: known after the last frame.

        Those after damage count if the file states how many frames or how much time it has. Not
        found: the cut end of a stream that states neither (MPEG-TS), and a part without any
        readable packet in a file that does not count its frames (Matroska, WebM).
        """
        if not self._at_end:
            return self.damaged
        missing = self._missing_packets()
        if not missing and not self.damaged:
            return 0
        if self.count:
            return max(1, self.count - self.discarded - self.decoded)
        return self.damaged + missing

    def check_complete(self, segmented: int) -> None:
        """Raise UnreadableInputError unless all frames were among the `segmented` ones, over 0."""
        if not segmented:
            raise UnreadableInputError(f"video {self.name} has no frame that can be decoded")
        if self.lost:
            raise UnreadableInputError(
                f"{self.name} is damaged: {segmented} of {segmented + self.lost} frames were "
                "segmented"
            )

    def decode(self) -> list[Any] | None:
        """Read one packet; see VideoDecoder. What cannot be read is counted and ends the video."""
        try:
            frames = super().decode()
        except UnreadableInputError:
            self.damaged += 1
            frames = None
        self._at_end = frames is None
        if frames:
            self._last = frames[-1].time
        return frames

    def seconds(self, frame: Any) -> float:
        """Return the time of a frame, each asked for once and in order; by `fps` if it has none."""
        time = super().seconds(frame)
        self._asked += 1
        return (self._asked - 1) / self.fps if time is None else time

    def rewind(self) -> None:
        """Start again at the first frame; see VideoDecoder."""
        super().rewind()
        self._asked, self._at_end = 0, False

    def frames(self) -> Iterator[Frame]:
        """Yield the frames up to the end, past damaged ones, then close the file."""
        try:
            while (frames := self.decode()) is not None:
                for frame in frames:
                    yield self.to_bgr(frame)
        finally:
            self.close()

    def _missing_packets(self) -> int:
        """Return how many packets are missing, by the number or the duration that is stated."""
        if self.count:
            missing, tolerance = self.count - self.packets, _TOLERANCE_FRAMES
        elif self._duration is not None and self._last is not None:
            start = float((self._stream.start_time or 0) * self._stream.time_base)
            missing = round((start + self._duration - self._last) * self.fps) - 1
            tolerance = max(_TOLERANCE_FRAMES, round(_TOLERANCE_SECONDS * self.fps))
        else:
            return 0
        return missing if missing > tolerance else 0


def open_video(path: str | os.PathLike[str], name: str | None = None) -> Video:
    """Open a video file; errors call it `name`. Raises UnreadableInputError if it cannot."""
    return Video(path, name)


def _duration(stream: Any) -> float | None:
    """Return the seconds that a stream states, Matroska in a tag, or None."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600.0 + int(minutes) * 60.0 + float(seconds)
    except (KeyError, ValueError):
        return None
