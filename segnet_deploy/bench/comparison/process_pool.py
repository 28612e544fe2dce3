"""The workers that are open: as many as the machine's memory holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from segnet_deploy.bench.comparison.network_process import WorkerProcess
from segnet_deploy.errors import EngineError
from segnet_deploy.system.memory import available_bytes

MARGIN = 1 << 30
FILE_COPIES = 4  # while a runtime loads a file


class Crew:
    """Opens a worker for a file when it is asked for, and closes the one idle for longest
    where memory is short.

    `reopened` names what had to be loaded more than once.
    """

    def __init__(
        self,
        request: dict[str, Any],
        start: Callable[[], WorkerProcess] = WorkerProcess,
        available: Callable[[], int | None] = available_bytes,
    ):
        self._request, self._start, self._available = request, start, available
        self._open: dict[Path, WorkerProcess] = {}
        self._known: set[Path] = set()
        self.reopened: set[Path] = set()

    def open(self, path: Path) -> dict[str, Any]:
        """Start a worker for `path` and return what it says about the network.

        Raises EngineError; then the worker is gone.
        """
        self._make_room(path)
        if path in self._known:
            self.reopened.add(path)
        self._known.add(path)
        self._open[path] = self._start()
        return self._ask(path, "open", engine=str(path), **self._request)

    def ask(self, path: Path, do: str, **request: Any) -> dict[str, Any]:
        """Ask the worker of `path`, opened where it is not. Raises EngineError."""
        if path not in self._open:
            self.open(path)
        self._open[path] = self._open.pop(path)  # now the latest
        return self._ask(path, do, **request)

    def close(self, path: Path) -> None:
        """End the worker of `path`, where there is one."""
        if path in self._open:
            self._open.pop(path).close()

    def _ask(self, path: Path, do: str, **request: Any) -> dict[str, Any]:
        try:
            return self._open[path].ask(do, **request)
        except EngineError as error:
            self._open.pop(path).kill()
            raise EngineError(f"{path}: {error}") from error

    def _make_room(self, path: Path) -> None:
        need = MARGIN + FILE_COPIES * path.stat().st_size
        while self._open:
            available = self._available()
            if available is None or available >= need:
                return
            self.close(next(iter(self._open)))

    def kill(self) -> None:
        """End every worker now."""
        for worker in self._open.values():
            worker.kill()
        self._open.clear()


@contextlib.contextmanager
def crew(request: dict[str, Any]) -> Iterator[Crew]:
    """Yield a crew whose workers end with the block, whatever happens."""
    made = Crew(request)
    try:
        yield made
    finally:
        made.kill()
