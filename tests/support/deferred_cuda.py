"""CUDA streams on the host that do their work as late as a GPU may, to test the order of calls.

Work of a stream is done when somebody waits for it: the host, or another stream through an event.
So a wait that is missing is a wrong result, not a matter of luck. Kernels are Python functions.
It shows the order in which this project calls CUDA; how a device behaves, only a device shows.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from gpu.host_runtime import HostRuntime, Status

Work = Callable[[], None]
NON_BLOCKING = 1
_handles = itertools.count(1000)


class DeferredCuda(HostRuntime):
    """The runtime; `refuse` names a function that fails."""

    def __init__(self) -> None:
        super().__init__()
        self._queues: dict[int, list[Work]] = {}
        self._points: dict[int, tuple[int, int]] = {}
        self._done: dict[int, int] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._capturing: dict[int, list[Work]] = {}
        self.flags: dict[int, int] = {}
        self.calls: list[str] = []
        self.refuse: str | None = None
        self.Status = Status
        for name in ("Begin", "End"):
            setattr(self, f"cudaStream{name}Capture", getattr(self, f"_{name.lower()}_capture"))
        self.cudaStreamCreateWithFlags = self._stream
        self.cudaStreamWaitEvent = self._wait
        self.cudaEventRecord = self._record_event
        self.cudaStreamSynchronize = self._synchronize
        self.cudaMemcpyAsync = self._copy
        self.cudaGraphInstantiate = lambda graph, _: (Status.cudaSuccess, graph)
        self.cudaGraphDestroy = lambda _: (Status.cudaSuccess,)
        self.cudaGraphExecDestroy = lambda _: (Status.cudaSuccess,)
        self.cudaGraphLaunch = self._launch
        self.cudaEventElapsedTime = lambda *_: (Status.cudaSuccess, 1.0)
        self.cudaMemcpyKind = SimpleNamespace(
            cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
        )

    def enqueue(self, stream: int, work: Work) -> None:
        """Do `work` on the stream, later, or add it to the graph that is being captured."""
        if int(stream) in self._capturing:
            self._capturing[int(stream)].append(work)
        else:
            self._queues.setdefault(int(stream), []).append(work)

    def finish(self, stream: int, until: int | None = None) -> None:
        """Do the work of a stream, all of it or up to position `until`."""
        queue = self._queues.setdefault(int(stream), [])
        done = self._done.get(int(stream), 0)
        while done < (len(queue) if until is None else until):
            work, done = queue[done], done + 1
            self._done[int(stream)] = done
            work()

    def _stream(self, flags: int) -> tuple[Status, int]:
        handle = next(_handles)
        self.flags[handle] = flags
        return Status.cudaSuccess, handle

    def _record_event(self, event: int, stream: int) -> tuple[Status]:
        self._points[event] = int(stream), len(self._queues.setdefault(int(stream), []))
        return (Status.cudaSuccess,)

    def _wait(self, stream: int, event: int, _: int) -> tuple[Status]:
        other, until = self._points[event]
        self.enqueue(stream, lambda: self.finish(other, until))
        return (Status.cudaSuccess,)

    def _synchronize(self, stream: int) -> tuple[Status]:
        self.finish(stream)
        return (Status.cudaSuccess,)

    def _copy(self, to: int, origin: int, nbytes: int, _: Any, stream: int) -> tuple[Status]:
        self.enqueue(stream, lambda: void(ctypes.memmove(to, origin, nbytes)))
        return (Status.cudaSuccess,)

    def _begin_capture(self, stream: int, _: Any) -> tuple[Status]:
        self._capturing[int(stream)] = []
        return (Status.cudaSuccess,)

    def _end_capture(self, stream: int) -> tuple[Status, int]:
        graph = next(_handles)
        self._graphs[graph] = self._capturing.pop(int(stream))
        self.calls.append("captured")
        failed = self.refuse == "cudaStreamEndCapture"
        return (Status.cudaErrorNotSupported if failed else Status.cudaSuccess), graph

    def _launch(self, graph: int, stream: int) -> tuple[Status]:
        self.calls.append("launched")
        for work in self._graphs[graph]:
            self.enqueue(stream, work)
        return (Status.cudaSuccess,)


def void(_: object) -> None:
    """Ignore a result."""
