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


class Executable(Protocol):
    """What a session runs: it enqueues its work on a stream and returns at once.

    A captured graph replays that work, so that a session's executable is used by no other session.
    """

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Read and write the tensors at these device addresses, on this cudaStream_t."""


class Graph:
    """The work that an executable enqueues, captured once and launched as a whole."""

    def __init__(self, executable: Executable, addresses: Mapping[str, int], stream: Stream):
        # Other threads may allocate and capture meanwhile.
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
    `outputs` have static shapes. A result is valid until the next run. `capture` False always
    executes directly. `captured` tells whether there is a graph, `capture_error` why there is none.
    """

    def __init__(
        self,
        executable: Executable,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        capture: bool = True,
    ):
        self._executable = executable
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._opened = contextlib.ExitStack()
        self._graph: Graph | None = None
        self._runs, self._capture = 0, capture
        self.capture_error: str | None = None
        try:
            self.stream = self._open(Stream())
            self._events = [self._open(Event()) for _ in range(2)]
            self._ready = self._open(Event(timed=False))
            self._host, self._device = {}, {}
            for port in (*inputs, *outputs):
                shape = tuple(size or 0 for size in port.shape)
                self._host[port.name] = self._open(PinnedBuffer(shape, port.dtype))
                self._device[port.name] = self._open(
                    DeviceBuffer(self._host[port.name].array.nbytes)
                )
            self._addresses = {name: buffer.pointer for name, buffer in self._device.items()}
        except BaseException:
            self.close()
            raise

    @property
    def captured(self) -> bool:
        """Whether runs launch a CUDA graph."""
        return self._graph is not None

    @property
    def device_bytes(self) -> int:
        """Bytes of the session's own buffers on the GPU; as many are pinned on the host."""
        return sum(buffer.nbytes for buffer in self._device.values())

    @property
    def gpu_seconds(self) -> float:
        """GPU time of the last run, without transfers; 0 before the first run."""
        return self._events[1].since(self._events[0]) if self._runs else 0.0

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Copy inputs in, execute, copy outputs out; return views of pinned memory."""
        for port in self.inputs:
            buffer = self._host[port.name]
            np.copyto(buffer.array, arrays[port.name])
            self._copy(self._addresses[port.name], buffer.pointer, port, "HostToDevice")
        self._launch()
        for port in self.outputs:
            buffer = self._host[port.name]
            self._copy(buffer.pointer, self._addresses[port.name], port, "DeviceToHost")
        self.stream.sync()
        return {port.name: self._host[port.name].array for port in self.outputs}

    def run_on_device(self, arrays: Mapping[str, Any]) -> dict[str, DeviceArray]:
        """Execute on arrays in GPU memory; return the outputs there.

        Waits for the streams that compute the inputs, and copies these within GPU memory to the
        fixed address that the graph reads.
        """
        for port in self.inputs:
            array = device_array(arrays[port.name], int(self.stream))
            if array.shape != port.shape or array.dtype != port.dtype:
                raise InputError(
                    f"input '{port.name}' got {array.shape} {array.dtype}; expected {port.shape} "
                    f"{port.dtype}"
                )
            if array.stream is not None:
                self._ready.record(array.stream)
                self.stream.wait(self._ready)
            self._copy(self._addresses[port.name], array.pointer, port, "DeviceToDevice")
        self._launch()
        self.stream.sync()
        return {
            port.name: DeviceArray(
                self._addresses[port.name], tuple(size or 0 for size in port.shape), port.dtype
            )
            for port in self.outputs
        }

    def enqueue_directly(self) -> None:
        """Execute without a graph on the present content of the buffers, and wait."""
        self._executable.enqueue(self._addresses, int(self.stream))
        self.stream.sync()

    def close(self) -> None:
        """Free everything."""
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()
        self._opened.close()

    def _open(self, thing: Any) -> Any:
        self._opened.callback(thing.close)
        return thing

    def _copy(self, to: int, origin: int, port: Port, way: str) -> None:
        kind = getattr(runtime().cudaMemcpyKind, f"cudaMemcpy{way}")
        nbytes = self._device[port.name].nbytes
        call("cudaMemcpyAsync", to, origin, nbytes, kind, int(self.stream))

    def _launch(self) -> None:
        """Run directly the first time, afterwards from a graph if it can be captured."""
        self._events[0].record(int(self.stream))
        if self._graph is None:
            self._executable.enqueue(self._addresses, int(self.stream))
        else:
            self._graph.launch(self.stream)
        self._events[1].record(int(self.stream))
        self._runs += 1
        if self._runs == 1 and self._capture:
            self.stream.sync()
            try:
                self._graph = Graph(self._executable, self._addresses, self.stream)
            except EngineError as error:  # then it continues without a graph
                self.capture_error = str(error)
