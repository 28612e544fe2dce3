"""Run an executable on the GPU with fixed buffers, a CUDA graph and GPU times."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.tensorrt.cuda_objects import (
    DeviceBuffer,
    Event,
    PinnedBuffer,
    Stream,
    call,
    runtime,
)
from segnet_deploy.runtimes.tensorrt.device_arrays import DeviceArray, device_array
from segnet_deploy.types import Array

_MAX_GRAPHS = 8


class Executable(Protocol):
    """What a session runs: it enqueues its work on a stream and returns at once."""

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Read and write the tensors at these device addresses, on this cudaStream_t."""


class Graph:
    """The work that an executable enqueues, captured once and launched as a whole."""

    def __init__(self, executable: Executable, addresses: Mapping[str, int], stream: Stream):
        mode = runtime().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call("cudaStreamBeginCapture", int(stream), mode)
        try:
            executable.enqueue(addresses, int(stream))
        except BaseException:
            with contextlib.suppress(EngineError):  # the capture has failed already
                call("cudaStreamEndCapture", int(stream))
            raise
        graph = call("cudaStreamEndCapture", int(stream))
        try:
            self._handle: Any = call("cudaGraphInstantiate", graph, 0)
        finally:
            call("cudaGraphDestroy", graph)

    def launch(self, stream: Stream) -> None:
        """Launch the whole graph on the stream."""
        call("cudaGraphLaunch", self._handle, int(stream))

    def close(self) -> None:
        """Free it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            call("cudaGraphExecDestroy", handle)


class Session:
    """Fixed buffers, one stream and a CUDA graph around an executable.

    A run allocates nothing but the dictionaries that name the results. `inputs` and
    `outputs` have static shapes. A result is valid until the next run.
    """

    def __init__(self, executable: Executable, inputs: Sequence[Port], outputs: Sequence[Port]):
        self._executable = executable
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._opened = contextlib.ExitStack()
        self._graphs: dict[tuple[int, ...], Graph | None] = {}
        self.captured = False
        try:
            self.stream = self._open(Stream())
            self._events = [self._open(Event()) for _ in range(2)]
            self._host, self._device = {}, {}
            for port in (*inputs, *outputs):
                shape = tuple(size or 0 for size in port.shape)
                self._host[port.name] = self._open(PinnedBuffer(shape, port.dtype))
                self._device[port.name] = self._open(
                    DeviceBuffer(self._host[port.name].array.nbytes)
                )
        except BaseException:
            self.close()
            raise

    @property
    def device_bytes(self) -> int:
        """Bytes of the session's own buffers on the GPU; as many are pinned on the host."""
        return sum(buffer.nbytes for buffer in self._device.values())

    @property
    def gpu_seconds(self) -> float:
        """GPU time of the last run, without transfers; 0 before the first run."""
        return self._events[1].since(self._events[0]) if self._graphs else 0.0

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Copy inputs in, execute, copy outputs out; return views of pinned memory."""
        for port in self.inputs:
            buffer = self._host[port.name]
            np.copyto(buffer.array, arrays[port.name])
            self._copy(self._device[port.name].pointer, buffer.pointer, buffer.array.nbytes, "In")
        self._launch({name: buffer.pointer for name, buffer in self._device.items()})
        for port in self.outputs:
            buffer = self._host[port.name]
            self._copy(buffer.pointer, self._device[port.name].pointer, buffer.array.nbytes, "Out")
        self.stream.sync()
        return {port.name: self._host[port.name].array for port in self.outputs}

    def run_on_device(self, arrays: Mapping[str, Any]) -> dict[str, DeviceArray]:
        """Execute on arrays in GPU memory without a copy; return the outputs there."""
        addresses = {name: buffer.pointer for name, buffer in self._device.items()}
        for port in self.inputs:
            array = device_array(arrays[port.name])
            if array.shape != port.shape or array.dtype != port.dtype:
                raise InputError(
                    f"input '{port.name}' got {array.shape} {array.dtype}; expected {port.shape} "
                    f"{port.dtype}"
                )
            addresses[port.name] = array.pointer
        self._launch(addresses)
        self.stream.sync()
        return {
            port.name: DeviceArray(
                self._device[port.name].pointer,
                tuple(size or 0 for size in port.shape),
                port.dtype,
                int(self.stream),
            )
            for port in self.outputs
        }

    def enqueue_directly(self) -> None:
        """Execute without a graph on the present content of the buffers, and wait."""
        addresses = {name: buffer.pointer for name, buffer in self._device.items()}
        self._executable.enqueue(addresses, int(self.stream))
        self.stream.sync()

    def close(self) -> None:
        """Free everything."""
        for graph in self._graphs.values():
            if graph is not None:
                graph.close()
        self._graphs.clear()
        self._opened.close()

    def _open(self, thing: Any) -> Any:
        self._opened.callback(thing.close)
        return thing

    def _copy(self, to: int, origin: int, nbytes: int, way: str) -> None:
        kinds = runtime().cudaMemcpyKind
        kind = kinds.cudaMemcpyHostToDevice if way == "In" else kinds.cudaMemcpyDeviceToHost
        call("cudaMemcpyAsync", to, origin, nbytes, kind, int(self.stream))

    def _launch(self, addresses: Mapping[str, int]) -> None:
        """Run directly the first time, afterwards from a graph if it can be captured."""
        key = tuple(addresses.values())
        first = key not in self._graphs
        if first:
            if len(self._graphs) >= _MAX_GRAPHS:
                oldest = self._graphs.pop(next(iter(self._graphs)))
                if oldest is not None:
                    oldest.close()
            self._graphs[key] = None
        graph = self._graphs[key]
        self._events[0].record(self.stream)
        if graph is None:
            self._executable.enqueue(addresses, int(self.stream))
        else:
            graph.launch(self.stream)
        self._events[1].record(self.stream)
        if first:
            self.stream.sync()
            with contextlib.suppress(EngineError):  # then it continues without a graph
                self._graphs[key] = Graph(self._executable, addresses, self.stream)
            self.captured = self._graphs[key] is not None
