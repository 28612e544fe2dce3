"""What the camera loop reports: its results and its status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segnet_deploy.types import Array, Frame

STATES = ("connecting", "live", "stalled", "reconnecting", "ended")
"""The values of `Status.state`."""

MAX_INFERENCE = 30.0  # seconds on one frame, after which the engine is taken to hang


@dataclass(frozen=True)
class Status:
    """State and counters of the loop at one moment. Times are in seconds.

    >>> Status("live", "/dev/video0", uptime=8.0, inferring=31.0).engine_responds
    False
    """

    state: str  # one of STATES
    source: str  # name of the source, without a password
    uptime: float  # since the loop started
    captured: int = 0  # frames from the source
    shown: int = 0  # results passed to the outputs
    dropped: int = 0  # frames and results replaced by a newer one
    reconnects: int = 0  # times that a lost source returned frames again
    errors: int = 0  # failures of the source, damaged frames, failures of the engine
    frames_per_second: float = 0.0  # results, over the last 5 seconds
    latency: float = 0.0  # of the newest result's inference
    age: float = 0.0  # of the newest result; grows while there are no results
    rss_bytes: int | None = None  # resident memory of the process; None if unknown
    stale: int = 0  # results not shown because they exceeded the maximum age
    engine_restarts: int = 0
    inferring: float = 0.0  # spent on the current frame so far

    @property
    def engine_responds(self) -> bool:
        """Whether the engine has spent less than MAX_INFERENCE seconds on its current frame."""
        return self.inferring < MAX_INFERENCE


@dataclass(frozen=True)
class Result:
    """One segmented frame. Its arrays may be kept; outputs share them and must not modify them."""

    frame: Frame  # (H, W, 3) uint8, BGR
    labels: Frame  # (H, W) uint8 class ids, at the frame's size
    sequence: int  # number of the captured frame, from 0
    captured: float  # time at which the frame arrived, by the loop's clock, in seconds
    age: float  # seconds from its arrival until it was shown
    status: Status
    uncertainty: Array | None = None  # (H, W) float32, of a file that samples its dropout
