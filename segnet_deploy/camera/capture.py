"""The capture thread: decodes everything, keeps the newest, opens a lost source again."""

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

FIRST_DELAY, LONGEST_DELAY = 0.1, 1.5


@dataclass(frozen=True)
class Captured:
    """A decoded frame and when it had arrived, by the loop's clock."""

    sequence: int
    time: float
    pending: PendingFrame


class Capture(threading.Thread):
    """Reads one source until it is stopped. Its numbers may be read from any thread.

    Every read ends after `timeout` seconds, so that one thread is enough: a source that hangs
    is left by the thread that waits for it, and nothing is abandoned.
    """

    def __init__(self, source: Source, frames: Mailbox[Captured], timeout: float, clock: Clock):
        super().__init__(name="segnet-capture", daemon=True)
        self.captured = self.dropped = self.reconnects = self.stream_errors = 0
        self.failure: SegNetError | None = None
        self._source, self._frames = source, frames
        self._timeout, self._clock = timeout, clock
        self._state = "connecting"
        self._waiting: float | None = None  # since when for a frame
        self._stopped = threading.Event()

    @property
    def state(self) -> str:
        """One of STATES; a live source without a frame for half the timeout is stalled."""
        state, waiting = self._state, self._waiting
        if state != "live" or waiting is None or not self._source.live:
            return state
        return "stalled" if self._clock() - waiting > self._timeout / 2 else state

    def stop(self) -> None:
        """Ask the thread to end; it does after the read that it is in."""
        self._stopped.set()
        self._frames.close(discard=True)

    def run(self) -> None:
        """Read until the end, opening a live source as often as it takes."""
        try:
            self._follow()
        except SegNetError as error:
            self.failure = error
        except Exception as error:  # must not end in silence
            log.exception("capture failed")
            self.failure = SourceLostError(f"{self._source.name}: {error!r}")
        finally:
            self._state = "ended"
            self._frames.close()

    def _follow(self) -> None:
        pauses, said = delays(), ""
        while not self._stopped.is_set():
            before = self.captured
            try:
                with contextlib.closing(self._source.open(self._timeout)) as stream:
                    self._read(stream)
                if not self._source.live:
                    return
                reason = f"{self._source.name}: the stream ended"
            except Exception as error:
                lost = isinstance(error, SourceLostError)
                if not self._source.live or (isinstance(error, SegNetError) and not lost):
                    raise
                # A driver's surprise is a loss like any other.
                reason = str(error) if lost else f"{self._source.name}: {error!r}"
            if self._stopped.is_set():
                return
            self.stream_errors += 1
            if self.captured > before:
                pauses, said = delays(), ""
            self._state = "reconnecting" if self.captured else "connecting"
            if reason != said:  # an outage of days is a line, not a hundred thousand
                log.warning("%s; trying again", reason)
                said = reason
            self._stopped.wait(next(pauses))

    def _read(self, stream: Stream) -> None:
        known_errors = 0
        while not self._stopped.is_set():
            self._waiting = self._clock()
            pending = stream.read()
            self._waiting = None
            if pending is None:
                return
            arrived = self._clock()
            if self._state == "reconnecting":
                self.reconnects += 1
            self._state = "live"
            self.stream_errors += stream.errors - known_errors
            known_errors = stream.errors
            self.dropped += self._frames.put(Captured(self.captured, arrived, pending))
            self.captured += 1


def delays(rng: random.Random | None = None) -> Iterator[float]:
    """Yield the pauses between attempts: doubling up to a cap, each shortened by chance.

    The chance keeps a hundred loops from knocking at one server in step.
    """
    rng = rng or random.Random()
    delay = FIRST_DELAY
    while True:
        yield delay * rng.uniform(0.5, 1)
        delay = min(LONGEST_DELAY, 2 * delay)
