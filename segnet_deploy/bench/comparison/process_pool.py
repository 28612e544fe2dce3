"""The child processes of a comparison: as many as the machine's memory permits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segnet_deploy.errors import EngineError
from segnet_deploy.progress import Progress, silent
from segnet_deploy.system.child_process import ChildDiedError, ChildProcess
from segnet_deploy.system.memory import available_bytes

WORKER = "segnet_deploy.bench.comparison.network_worker"
MARGIN = 1 << 30
FILE_COPIES = 4  # in memory while a runtime loads a file


def start_worker(prefix: Sequence[str] = ()) -> ChildProcess:
    """Start the child process of one network; `prefix` is put before the command."""
    return ChildProcess(WORKER, prefix=prefix)


class ProcessPool:
    """Opens a process for a file when it is first asked, and keeps it for later requests.

    If memory is short, the process that was idle for longest is closed. `reopened` has the files
    that were therefore loaded more than once. `open_arguments` are those of the worker's `open`,
    without `engine`.
    """

    def __init__(
        self,
        open_arguments: Mapping[str, Any],
        progress: Progress = silent,
        start: Callable[[], ChildProcess] = start_worker,
        available: Callable[[], int | None] = available_bytes,
    ):
        self._open_arguments, self._progress = open_arguments, progress
        self._start, self._available = start, available
        self._processes: dict[Path, ChildProcess] = {}  # the one idle for longest first
        self._opened: set[Path] = set()
        self.reopened: set[Path] = set()

    def open(self, path: Path) -> dict[str, Any]:
        """Start a process for `path` and return what it reports about the network.

        Raises EngineError; the process has then ended.
        """
        self._make_room(path)
        if path in self._opened:
            self.reopened.add(path)
        self._opened.add(path)
        self._processes[path] = self._start()
        return self._ask(path, "open", engine=str(path), **self._open_arguments)

    def ask(self, path: Path, task: str, **arguments: Any) -> dict[str, Any]:
        """Run a task in the process of `path`, opening it if necessary. Raises EngineError."""
        if path not in self._processes:
            self.open(path)
        self._processes[path] = self._processes.pop(path)  # to the end: used last
        return self._ask(path, task, **arguments)

    def close(self, path: Path) -> None:
        """End the process of `path`, if it is open."""
        if path in self._processes:
            self._processes.pop(path).close()

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
        self._processes.clear()

    def _ask(self, path: Path, task: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._processes[path].ask(
                task, progress=self._progress, **arguments
            )
        except EngineError as error:
            self._processes.pop(path).kill()
            advice = "; run segnet-bench --engine on this file alone to see why"
            died = isinstance(error, ChildDiedError)
            raise EngineError(f"{path}: {error}{advice if died else ''}") from error
        return answer

    def _make_room(self, path: Path) -> None:
        """Close processes until the memory suffices for `path`, or none is open."""
        needed = MARGIN + FILE_COPIES * path.stat().st_size
        while self._processes:
            available = self._available()
            if available is None or available >= needed:
                return
            self.close(next(iter(self._processes)))
