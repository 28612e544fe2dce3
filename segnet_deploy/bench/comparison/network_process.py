"""The parent's side of a worker: start it, ask it, see it die."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from segnet_deploy.errors import EngineError

MODULE = "segnet_deploy.bench.comparison.network_worker"


class WorkerProcess:
    """A fresh process for one network. Requests are answered in order.

    `prefix` is put before the command, such as ["/usr/bin/time", "-v"].
    """

    def __init__(self, prefix: Sequence[str] = ()):
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer. Raises EngineError, with the worker's words."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise EngineError(f"its process ended {self._ending()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def close(self) -> None:
        """Let the process end by itself; end it where it does not."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=20)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.kill()

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.wait()

    def _ending(self) -> str:
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return "by signal 9, as when memory runs out: close other programs"
        return f"with status {status}; run segnet-bench --engine on this file alone to see why"
