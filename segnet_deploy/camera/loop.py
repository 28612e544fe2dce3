"""The camera loop: capture, infer and show overlap, and what is shown is the newest."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from segnet_deploy.camera.capture import Capture, Captured
from segnet_deploy.camera.inference import Inference, Segmented
from segnet_deploy.camera.mailbox import Mailbox
from segnet_deploy.camera.result import Output, Result, Status
from segnet_deploy.camera.sources.base import Source, Wishes, find_source
from segnet_deploy.errors import InputError
from segnet_deploy.metadata import Metadata
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.system.memory import rss_bytes
from segnet_deploy.types import Clock

log = logging.getLogger("segnet_deploy.camera")

TICK = 1.0  # seconds between two looks at the state without a change
POLL = 0.1
RATE_SPAN = 5.0
SILENCE = 1.0  # seconds without a result after which the last one's age is seen to grow
GRACE = 0.25  # seconds that a thread gets to end


class Camera:
    """Segments a source until it ends, it is stopped, or `duration` seconds are over.

    `engine` is a file, or a function that loads a segmenter (it is called again for the one
    restart after an engine error). With `every_frame`, for files, nothing is dropped. Results
    older than `max_age` seconds are not shown. A source that gives no frame for
    `stall_timeout` seconds is opened again. `clock` gives seconds that never go back.

    Raises what `load` and `find_source` raise.
    """

    def __init__(
        self,
        engine: str | os.PathLike[str] | Callable[[], Segmenter],
        source: str | Source,
        *,
        every_frame: bool = False,
        max_age: float | None = None,
        duration: float | None = None,
        stall_timeout: float = 2.0,
        clock: Clock = time.monotonic,
    ):
        if isinstance(source, str):
            source = find_source(source, Wishes(paced=not every_frame))
        if every_frame and source.live:
            raise InputError(f"every frame of {source.name}, which is live; expected a file")
        self.outputs: list[Output] = []
        self._max_age, self._duration, self._clock = max_age, duration, clock
        self._stopped = threading.Event()
        self._source = source
        loader = engine if callable(engine) else partial(load, engine)
        segmenter = loader()
        self.metadata: Metadata = segmenter.metadata
        frames: Mailbox[Captured] = Mailbox(wait=every_frame)
        self._results: Mailbox[Segmented] = Mailbox(wait=every_frame)
        self._capture = Capture(source, frames, stall_timeout, clock)
        self._inference = Inference(loader, segmenter, frames, self._results, clock)
        self._started = clock()
        self._shown = self._stale = 0
        self._recent: deque[float] = deque(maxlen=1000)  # when results were shown
        self._last = (self._started, 0.0, 0.0)  # when, latency, age of the newest
        self._rss = rss_bytes()

    def results(self) -> Iterator[Result]:
        """Yield results as they come, after every output has been shown them. Once only.

        Leaving the loop stops the camera. Raises EngineError where the engine fails again
        after its restart, InputError where a file cannot be decoded.
        """
        self._started = self._clock()
        try:
            yield from self._loop()
        finally:
            self.close()
        failure = self._inference.failure or self._capture.failure
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """End the loop soon; may be called from a signal handler or another thread."""
        self._stopped.set()

    def close(self) -> bool:
        """Stop, close the outputs, and return whether every thread has ended.

        A thread that waits for a source or an engine ends by itself after its timeout.
        """
        self.stop()
        self._capture.stop()
        self._results.close()
        while self.outputs:
            output = self.outputs.pop()
            try:
                output.close()
            except Exception:  # the others are to be closed all the same
                log.exception("an output cannot be closed")
        threads = [t for t in (self._capture, self._inference) if t.ident is not None]
        for thread in threads:
            thread.join(GRACE)
        return not any(thread.is_alive() for thread in threads)

    def status(self) -> Status:
        """Return the loop's state and counters at this moment."""
        capture, inference, now = self._capture, self._inference, self._clock()
        while self._recent and now - self._recent[0] > RATE_SPAN:
            self._recent.popleft()
        span = min(RATE_SPAN, max(now - self._started, 1e-9))
        shown_at, latency, age = self._last
        silence = now - shown_at
        return Status(
            state="ended" if self._stopped.is_set() else capture.state,
            source=self._source.name,
            uptime=max(0.0, now - self._started),
            captured=capture.captured,
            shown=self._shown,
            dropped=capture.dropped + inference.dropped,
            reconnects=capture.reconnects,
            errors=capture.stream_errors + inference.frame_errors + inference.restarts,
            frames_per_second=len(self._recent) / span,
            latency=latency,
            age=age + silence if self._shown and silence > SILENCE else age,
            rss_bytes=self._rss,
            stale=self._stale,
            engine_restarts=inference.restarts,
            inferring=inference.busy,
        )

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _loop(self) -> Iterator[Result]:
        told, state = self._clock(), self._tell()
        self._capture.start()
        self._inference.start()
        while not self._stopped.is_set() and not self._results.finished:
            segmented = self._results.take(POLL)
            now = self._clock()
            if self._duration is not None and now - self._started >= self._duration:
                break
            if self._capture.state != state or not 0 <= now - told < TICK:
                told, state = now, self._tell()
            if segmented is not None and (result := self._result(segmented)) is not None:
                for output in self.outputs:
                    output.show(result)
                yield result
        self._stopped.set()
        self._tell()

    def _tell(self) -> str:
        self._rss = rss_bytes()
        status = self.status()
        for output in self.outputs:
            output.tell(status)
        return status.state

    def _result(self, segmented: Segmented) -> Result | None:
        """Return the result to show, or None where it is too old for that."""
        captured, now = segmented.captured, self._clock()
        age = max(0.0, now - captured.time)
        if self._max_age is not None and age > self._max_age:
            self._stale += 1
            return None
        self._shown += 1
        self._recent.append(now)
        self._last = (now, segmented.latency, age)
        return Result(
            frame=segmented.frame,
            labels=segmented.labels,
            sequence=captured.sequence,
            captured=captured.time,
            age=age,
            status=self.status(),
        )
