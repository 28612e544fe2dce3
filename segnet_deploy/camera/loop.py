"""The camera loop: capture, inference and display overlap, and the newest result is shown."""

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
from segnet_deploy.camera.outputs.base import Output
from segnet_deploy.camera.result import Result, Status
from segnet_deploy.camera.sources.base import Source, SourceOptions
from segnet_deploy.camera.sources.find import find_source
from segnet_deploy.errors import UsageError
from segnet_deploy.metadata import Metadata
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.system.memory import rss_bytes
from segnet_deploy.types import Clock

log = logging.getLogger("segnet_deploy.camera")

# All in seconds.
STATUS_INTERVAL = 1.0  # between two reports if the state does not change
POLL_INTERVAL = 0.1  # between two checks of the state
RATE_WINDOW = 5.0  # over which the frame rate is measured
SILENCE = 1.0  # without a result, after which the reported age grows
JOIN_TIMEOUT = 0.25  # for a thread to end


class Camera:
    """Segments a source until it ends, `stop` is called or `duration` seconds have passed.

    `engine` is an ONNX file or a built engine, or a function that loads a segmenter: it is called
    again for the one restart after an engine error. `source` is a URI (see `find_source`) or a
    Source. With `every_frame`, for files, nothing is dropped. Results older than `max_age` seconds
    are not shown. A source without a frame for `stall_timeout` seconds is opened again. `clock`
    returns monotonic seconds.

    >>> with Camera("segnet.onnx", "data/images", every_frame=True) as camera:
    ...     sizes = [result.labels.shape for result in camera.results()]
    >>> sizes
    [(45, 61), (45, 61), (45, 61)]

    Options of engine and source:

        engine = partial(load, "segnet.onnx", runtime="ncnn", threads=2)
        source = find_source("/dev/video0", SourceOptions(size=(480, 640)))
        camera = Camera(engine, source)

    `outputs` is a list of Output, shown each result; see `add_outputs`. `metadata` contains the
    names and colours of the classes.
    Raises what `load` and `find_source` raise; UsageError for `every_frame` of a live source.
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
            source = find_source(source, SourceOptions(paced=not every_frame))
        if every_frame and source.live:
            raise UsageError(
                f"every frame of {source.name}, which is live; expected a video file or a folder"
            )
        self.every_frame = every_frame
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
        self._recent: deque[float] = deque(maxlen=1000)  # times at which results were shown
        self._last = (self._started, 0.0, 0.0)  # time shown, latency and age of the newest
        self._rss = rss_bytes()

    def results(self) -> Iterator[Result]:
        """Yield each result after it was shown to every output. May be called once.

        Leaving the loop stops the camera and closes the outputs. Raises EngineError if the
        engine fails again after its restart, InputError if a file cannot be decoded,
        MissingDependencyError if the source needs a library that is not installed.
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

        A thread that still waits for a source or an engine ends after its read or call.
        """
        self.stop()
        self._capture.stop()
        self._results.close()
        while self.outputs:
            output = self.outputs.pop()
            try:
                output.close()
            except Exception:  # the other outputs must be closed too
                log.exception("an output cannot be closed")
        threads = [t for t in (self._capture, self._inference) if t.ident is not None]
        for thread in threads:
            thread.join(JOIN_TIMEOUT)
        return not any(thread.is_alive() for thread in threads)

    def status(self) -> Status:
        """Return state and counters at this moment."""
        capture, inference, now = self._capture, self._inference, self._clock()
        while self._recent and now - self._recent[0] > RATE_WINDOW:
            self._recent.popleft()
        window = min(RATE_WINDOW, max(now - self._started, 1e-9))
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
            frames_per_second=len(self._recent) / window,
            latency=latency,
            age=age + silence if self._shown and silence > SILENCE else age,
            rss_bytes=self._rss,
            stale=self._stale,
            engine_restarts=inference.restarts,
            inferring=inference.busy,
        )

    def damage(self) -> str | None:
        """Return what of a file or a folder could not be read so far, or None; live: None."""
        lost = self._capture.stream_errors + self._inference.frame_errors
        if self._source.live or not lost:
            return None
        read = self._capture.captured - self._inference.frame_errors
        return f"{self._source.name} is damaged: {read} of {read + lost} frames could be read"

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _loop(self) -> Iterator[Result]:
        reported, state = self._clock(), self._report()
        self._capture.start()
        self._inference.start()
        while not self._stopped.is_set() and not self._results.finished:
            segmented = self._results.take(POLL_INTERVAL)
            now = self._clock()
            if self._duration is not None and now - self._started >= self._duration:
                break
            if self._capture.state != state or not 0 <= now - reported < STATUS_INTERVAL:
                reported, state = now, self._report()
            if segmented is not None and (result := self._result(segmented)) is not None:
                for output in self.outputs:
                    output.show(result)
                yield result
        self._stopped.set()
        self._report()

    def _report(self) -> str:
        """Report the status to every output and return the state."""
        self._rss = rss_bytes()
        status = self.status()
        for output in self.outputs:
            output.report(status)
        return status.state

    def _result(self, segmented: Segmented) -> Result | None:
        """Return the result to show, or None if it is too old."""
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
            uncertainty=segmented.uncertainty,
        )
