"""The capture thread: decodes every frame, keeps the newest, reopens a lost source."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from segnet_deploy.camera.mailbox import Mailbox
from segnet_deploy.camera.sources.base import PendingFrame, Source, SourceLostError, Stream
from segnet_deploy.errors import SegNetError
from segnet_deploy.types import Clock

log = logging.getLogger("segnet_deploy.camera")

FIRST_DELAY, MAX_DELAY = 0.1, 1.5  # seconds between two attempts to open a source


@dataclass(frozen=True)
class Captured:
    """A decoded frame, and the time at which it arrived by the loop's clock, in seconds."""

    sequence: int
    time: float
    pending: PendingFrame


class Capture(threading.Thread):
    """Reads one source until it is stopped. Its counters may be read from any thread.

    Every read ends after `timeout` seconds, so this thread itself leaves a source that hangs and
    opens it again; no second thread is needed and none is abandoned.
    """

    def __init__(self, source: Source, frames: Mailbox[Captured], timeout: float, clock: Clock):
        super().__init__(name="segnet-capture", daemon=True)
        self.captured = self.dropped = self.reconnects = self.stream_errors = 0
        self.failure: SegNetError | None = None
        self._source, self._frames = source, frames
        self._timeout, self._clock = timeout, clock
        self._state = "connecting"
        self._read_began: float | None = None  # None outside of a read
        self._stopped = threading.Event()

    @property
    def state(self) -> str:
        """One of STATES; a live source without a frame for half the timeout is stalled."""
        state, began = self._state, self._read_began
        if state != "live" or began is None or not self._source.live:
            return state
        return "stalled" if self._clock() - began > self._timeout / 2 else state

    def stop(self) -> None:
        """Make the thread end after the current read."""
        self._stopped.set()
        self._frames.close(discard=True)

    def run(self) -> None:
        """Read until the end; open a live source again as often as necessary."""
        try:
            self._follow()
        except SegNetError as error:
            self.failure = error
        except Exception as error:  # must not end silently
            log.exception("capture failed")
            self.failure = SourceLostError(f"{self._source.name}: {error!r}")
        finally:
            self._state = "ended"
            self._frames.close()

    def _follow(self) -> None:
        pauses, logged = delays(), ""
        while not self._stopped.is_set():
            captured_before = self.captured
            try:
                with contextlib.closing(self._source.open(self._timeout)) as stream:
                    self._read(stream)
                if not self._source.live:
                    return
                reason = f"{self._source.name}: the stream ended"
            except Exception as error:
                is_lost = isinstance(error, SourceLostError)
                if not self._source.live or (isinstance(error, SegNetError) and not is_lost):
                    raise
                # An unexpected exception of a driver is a loss like any other.
                reason = str(error) if is_lost else f"{self._source.name}: {error!r}"
            if self._stopped.is_set():
                return
            self.stream_errors += 1
            if self.captured > captured_before:
                pauses, logged = delays(), ""
            self._state = "reconnecting" if self.captured else "connecting"
            if reason != logged:  # one line per outage, not one per attempt
                log.warning("%s; trying again", reason)
                logged = reason
            self._stopped.wait(next(pauses))

    def _read(self, stream: Stream) -> None:
        known_errors = 0
        while not self._stopped.is_set():
            self._read_began = self._clock()
            pending = stream.read()
            self._read_began = None
            self.stream_errors += stream.errors - known_errors
            known_errors = stream.errors
            if pending is None:
                return
            arrived = self._clock()
            if self._state == "reconnecting":
                self.reconnects += 1
            self._state = "live"
            self.dropped += self._frames.put(Captured(self.captured, arrived, pending))
            self.captured += 1


def delays(rng: random.Random | None = None) -> Iterator[float]:
    """Yield the pauses between attempts, in seconds: doubling up to a cap, with random jitter.

    The jitter keeps many loops from reconnecting to one server simultaneously.
    """
    rng = rng or random.Random()
    delay = FIRST_DELAY
    while True:
        yield delay * rng.uniform(0.5, 1)
        delay = min(MAX_DELAY, 2 * delay)
