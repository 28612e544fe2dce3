"""Work in a child process: JSON requests on its stdin, JSON answers from its stdout.

A crash, a leak or a memory peak of a native library stays in the child. A module becomes a
child by ending with

    if __name__ == "__main__":
        sys.exit(serve({"measure": measure}))

and the parent calls it with

    with ChildProcess("segnet_deploy.bench.roofline") as child:
        child.ask("measure", threads=2)
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from segnet_deploy.errors import EngineError, SegNetError
from segnet_deploy.progress import Progress, silent

_CLOSING = 20.0  # s for a child to end by itself
_answers: TextIO | None = None  # of this process, if it is a child


class ChildDiedError(EngineError):
    """The child ended, by a crash or a signal, before it answered."""


class ChildProcess:
    """A child that runs `module` and answers requests in order.

    `environment` is added to this process's. `prefix` is put before the command, such as
    ["/usr/bin/time", "-v"]. What the child writes to stderr is kept for error messages.
    """

    def __init__(
        self,
        module: str,
        *,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ):
        self._stderr = tempfile.TemporaryFile(  # noqa: SIM115 - closed with the child
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def stderr(self) -> str:
        """Everything that the child has written to stderr so far."""
        self._stderr.seek(0)
        return self._stderr.read()

    def ask(
        self,
        task: str,
        *,
        timeout: float | None = None,
        progress: Progress = silent,
        **arguments: Any,
    ) -> Any:
        """Run a task of the child and return its result; `arguments` must be JSON.

        The child's `report` calls reach `progress`. Raises EngineError if the task fails or
        `timeout` seconds pass, ChildDiedError if the child ends; it is gone after the last two.
        """
        assert self._process.stdin is not None
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(timeout or 0.0, expire)
        if timeout is not None:
            timer.start()
        try:
            self._process.stdin.write(json.dumps({"task": task, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            return self._answer(progress)
        except (BrokenPipeError, EOFError):
            if expired.is_set():
                raise EngineError(f"it took over {timeout:.0f} s") from None
            raise self._died() from None
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close the child's stdin and wait for it to end; kill it if it does not."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=_CLOSING)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._release()

    def kill(self) -> None:
        """End the child now."""
        self._process.kill()
        self._process.wait()
        self._release()

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _answer(self, progress: Progress) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if "error" in answer:
                raise EngineError(answer["error"])
            if "result" in answer:
                return answer["result"]
            progress(*answer["progress"])
        raise EOFError

    def _died(self) -> ChildDiedError:
        status = self._process.wait()
        if status == -signal.SIGKILL:
            how = "by signal 9, as when memory runs out; close other programs"
        else:
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        reason = f": {lines[-1]}" if lines else ""
        return ChildDiedError(f"the child process ended {how}{reason}")

    def _release(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # a request that was never read
                    stream.close()


def serve(tasks: Mapping[str, Callable[..., Any]]) -> int:
    """Answer requests until stdin ends; return the exit status of the child.

    A SegNetError of a task is answered as an error; any other exception ends the child.
    """
    global _answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    # Libraries print to stdout, so answers have a stream that only this module writes to.
    _answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            _write({"result": tasks[request["task"]](**request["arguments"])})
        except SegNetError as error:
            _write({"error": str(error)})
        except MemoryError:
            _write({"error": "out of memory"})
    return 0


def report(text: str, done: int | None = None, total: int | None = None) -> None:
    """Report progress from inside a task; without a parent it is ignored."""
    if _answers is not None:
        _write({"progress": [text, done, total]})


def _write(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=_answers, flush=True)
