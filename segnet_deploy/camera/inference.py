"""The inference thread: newest frame in, labels out; one restart of the engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from segnet_deploy.camera.capture import Captured
from segnet_deploy.camera.mailbox import Mailbox
from segnet_deploy.errors import EngineError, SegNetError
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Clock, Frame

log = logging.getLogger("segnet_deploy.camera")

RESTARTS = 1


@dataclass(frozen=True)
class Segmented:
    """A captured frame, (H, W, 3) uint8 BGR, and its (H, W) uint8 labels."""

    captured: Captured
    frame: Frame
    labels: Frame
    latency: float


class Inference(threading.Thread):
    """Segments what comes in until the mailbox closes or the engine fails for good."""

    def __init__(
        self,
        load: Callable[[], Segmenter],
        segmenter: Segmenter,
        frames: Mailbox[Captured],
        results: Mailbox[Segmented],
        clock: Clock,
    ):
        super().__init__(name="segnet-inference", daemon=True)
        self.failure: SegNetError | None = None
        self.frame_errors = self.restarts = self.dropped = 0
        self._load, self._segmenter, self._clock = load, segmenter, clock
        self._frames, self._results = frames, results
        self._since: float | None = None

    @property
    def busy(self) -> float:
        """Seconds that the engine has spent on its present frame so far."""
        since = self._since
        return 0.0 if since is None else max(0.0, self._clock() - since)

    def run(self) -> None:
        """Segment until there is nothing more, then close the engine."""
        try:
            while (captured := self._frames.take()) is not None:
                self._step(captured)
        except SegNetError as error:
            self.failure = error
        finally:
            self._frames.close()
            self._results.close()
            self._segmenter.close()

    def _step(self, captured: Captured) -> None:
        try:
            frame = captured.pending()
        except Exception as error:  # a damaged picture is one frame lost
            self.frame_errors += 1
            log.warning("frame %d cannot be converted: %s", captured.sequence, error)
            return
        self._since = began = self._clock()
        try:
            labels = self._segment(frame)
        finally:
            self._since = None
        if labels is not None:
            latency = max(0.0, self._clock() - began)
            done = Segmented(captured, frame, labels, latency)
            self.dropped += self._results.put(done)

    def _segment(self, frame: Frame) -> Frame | None:
        """Return labels, or None where the engine had to be restarted for the next frame."""
        try:
            return self._segmenter.segment(frame)
        except Exception as error:
            if self.restarts >= RESTARTS:
                raise EngineError(
                    f"the engine failed again after its restart: {error}; check it with "
                    "segnet-doctor and segnet-bench"
                ) from error
            self.restarts += 1
            log.error("the engine failed (%s); restarting it", error)
            self._segmenter.close()
            self._segmenter = self._reloaded()
            return None

    def _reloaded(self) -> Segmenter:
        try:
            return self._load()
        except SegNetError:
            raise
        except Exception as error:
            raise EngineError(f"the engine cannot be restarted: {error}") from error
