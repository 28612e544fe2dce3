"""What the camera loop hands to its outputs, and what an output is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from segnet_deploy.types import Frame

STATES = ("connecting", "live", "stalled", "reconnecting", "ended")


@dataclass(frozen=True)
class Status:
    """The loop at one moment. Rates are over the last seconds; times are in seconds."""

    state: str
    source: str
    uptime: float
    captured: int = 0
    shown: int = 0
    dropped: int = 0
    reconnects: int = 0
    errors: int = 0
    frames_per_second: float = 0.0
    latency: float = 0.0
    age: float = 0.0
    rss_bytes: int | None = None
    stale: int = 0  # results older than the greatest age to show
    engine_restarts: int = 0
    inferring: float = 0.0  # seconds spent on the present frame so far


@dataclass(frozen=True)
class Result:
    """One segmented frame. Its arrays may be kept; outputs share them, so nobody writes to them."""

    frame: Frame  # (H, W, 3) uint8, BGR
    labels: Frame  # (H, W) uint8, at the frame's size
    sequence: int  # number of the captured frame, from 0
    captured: float  # time.monotonic() when the frame had arrived
    age: float  # seconds from its arrival until now
    status: Status


class Output(Protocol):
    """Where results go. No call may wait for a slow consumer."""

    def show(self, result: Result) -> None:
        """Take the newest result."""

    def tell(self, status: Status) -> None:
        """Take the state: at each change, and about once a second."""

    def close(self) -> None:
        """Finish files and connections."""
