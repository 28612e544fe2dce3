"""A slow output on a thread of its own, so that it never holds the loop."""

from __future__ import annotations

import logging
import threading

from segnet_deploy.camera.mailbox import Mailbox
from segnet_deploy.camera.result import Output, Result, Status

log = logging.getLogger("segnet_deploy.camera")

CLOSING = 1.0  # seconds for the last result and the end of the file


class Background:
    """Hands `output` the newest result; with `wait`, for files, each one.

    An output that fails is closed and left out; the loop goes on.
    """

    def __init__(self, output: Output, wait: bool = False):
        self._output = output
        self._results: Mailbox[Result] = Mailbox(wait)
        self._thread = threading.Thread(target=self._run, name="segnet-output", daemon=True)
        self._thread.start()

    def show(self, result: Result) -> None:
        """Leave the result for the thread."""
        self._results.put(result)

    def tell(self, status: Status) -> None:
        """States are of no interest to files."""

    def close(self) -> None:
        """Let the last result be written and the file be finished."""
        self._results.close()
        self._thread.join(CLOSING)

    def _run(self) -> None:
        try:
            while (result := self._results.take()) is not None:
                self._output.show(result)
        except Exception as error:
            log.error("%s ends: %s", type(self._output).__name__.lower(), error)
            self._results.close()
        finally:
            try:
                self._output.close()
            except Exception as error:
                log.error("%s: %s", type(self._output).__name__.lower(), error)
