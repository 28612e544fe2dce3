"""The inference thread: segments the newest frame; restarts the engine once if it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from segnet_deploy.camera.capture import Captured
from segnet_deploy.camera.mailbox import Mailbox
from segnet_deploy.errors import EngineError, SegNetError, translated
from segnet_deploy.runtimes.base import ServerUnavailableError
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Array, Clock, Frame

log = logging.getLogger("segnet_deploy.camera")

MAX_RESTARTS = 1
SERVER_RETRY = 0.2  # s between two frames for a server that does not answer


@dataclass(frozen=True)
class Segmented:
    """A captured frame, (H, W, 3) uint8 BGR, its (H, W) uint8 labels and the latency in seconds.

    `uncertainty` is (H, W) float32 if the file samples its dropout, else None.
    """

    captured: Captured
    frame: Frame
    labels: Frame
    latency: float
    uncertainty: Array | None = None


class Inference(threading.Thread):
    """Segments frames until their mailbox closes or the engine fails permanently."""

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
        self.frame_errors = self.restarts = self.dropped = self.unanswered = 0
        self._load, self._segmenter, self._clock = load, segmenter, clock
        self._frames, self._results = frames, results
        self._began: float | None = None  # None between two frames

    @property
    def busy(self) -> float:
        """Seconds that the engine has spent on its current frame so far."""
        began = self._began
        return 0.0 if began is None else max(0.0, self._clock() - began)

    def run(self) -> None:
        """Segment until there are no more frames, then close the engine."""
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
        except Exception as error:  # a damaged picture costs one frame
            self.frame_errors += 1
            log.warning("frame %d cannot be converted: %s", captured.sequence, error)
            return
        self._began = began = self._clock()
        try:
            found = self._segment(frame)
        finally:
            self._began = None
        if found is not None:
            latency = max(0.0, self._clock() - began)
            labels, uncertainty = found
            segmented = Segmented(captured, frame, labels, latency, uncertainty)
            self.dropped += self._results.put(segmented)

    def _segment(self, frame: Frame) -> tuple[Frame, Array | None] | None:
        """Return labels and uncertainty, or None if the engine failed and was restarted.

        A server that does not answer costs frames until it does.
        """
        try:
            found = self._run(frame)
            if self.unanswered:
                log.warning("the server answers again, %d frames later", self.unanswered)
                self.unanswered = 0
            return found
        except ServerUnavailableError as error:
            if not self.unanswered:
                log.warning("%s; frames are dropped until it answers", error)
            self.unanswered += 1
            self.dropped += 1
            time.sleep(SERVER_RETRY)
            return None
        except Exception as error:
            if self.restarts >= MAX_RESTARTS:
                raise EngineError(
                    f"the engine failed again after its restart: {error}; check it with "
                    "segnet-doctor and segnet-bench"
                ) from error
            self.restarts += 1
            log.error("the engine failed (%s); restarting it", error)
            self._segmenter.close()
            with translated(EngineError, "the engine cannot be restarted"):
                self._segmenter = self._load()
            return None

    def _run(self, frame: Frame) -> tuple[Frame, Array | None]:
        if self._segmenter.has_uncertainty:
            return self._segmenter.segment_with_uncertainty(frame)
        return self._segmenter.segment(frame), None
