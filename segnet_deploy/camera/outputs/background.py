"""Run a slow output on a separate thread, so that it never delays the loop."""

from __future__ import annotations

import logging
import threading

from segnet_deploy.camera.mailbox import Mailbox
from segnet_deploy.camera.outputs.base import Output
from segnet_deploy.camera.result import Result, Status

log = logging.getLogger("segnet_deploy.camera")

JOIN_TIMEOUT = 1.0  # seconds for the last result and the end of the file


class Background:
    """Passes `output` the newest result; with `wait`, for files, every result.

    An output that raises is closed and gets no further results; the loop continues. The status is
    not passed on.
    """

    def __init__(self, output: Output, wait: bool = False):
        self._output, self._name = output, type(output).__name__
        self._results: Mailbox[Result] = Mailbox(wait)
        self._thread = threading.Thread(target=self._run, name="segnet-output", daemon=True)
        self._thread.start()

    def show(self, result: Result) -> None:
        """Leave the result for the thread."""
        self._results.put(result)

    def report(self, status: Status) -> None:
        """Ignore the status."""

    def close(self) -> None:
        """Wait until the last result is written and the output is closed."""
        self._results.close()
        self._thread.join(JOIN_TIMEOUT)

    def _run(self) -> None:
        try:
            while (result := self._results.take()) is not None:
                self._output.show(result)
        except Exception as error:
            log.error("output %s failed and is closed: %s", self._name, error)
            self._results.close()
        finally:
            try:
                self._output.close()
            except Exception as error:
                log.error("output %s cannot be closed: %s", self._name, error)
