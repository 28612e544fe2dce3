"""CUDA streams, events and buffers, freed by close(); all calls of the CUDA runtime."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from segnet_deploy.errors import EngineError
from segnet_deploy.optional import available, require
from segnet_deploy.types import Array

EXTRA = "tensorrt"
NO_DRIVER = ("cudaErrorInsufficientDriver", "cudaErrorNoDevice", "cudaErrorInitializationError")


@functools.cache  # several calls a frame
def runtime() -> ModuleType:
    """Import cuda-python's runtime API, under its newer or older name."""
    if available("cuda.bindings"):
        return require("cuda.bindings.runtime", EXTRA)
    return require("cuda.cudart", EXTRA)


def call(name: str, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime; return its value. Raises EngineError."""
    cuda = runtime()
    try:
        status, *values = getattr(cuda, name)(*arguments)
    except (RuntimeError, AttributeError) as error:  # no driver library, or a runtime too old
        raise EngineError(f"{name} cannot be called: {error}; run segnet-doctor") from error
    if status != cuda.cudaError_t.cudaSuccess:
        raise _error(cuda, name, status, arguments)
    return values[0] if len(values) == 1 else tuple(values)


def spin_wait() -> str:
    """Return how the host waits for the GPU: auto (CUDA's choice), spin, yield or blocking."""
    cuda = runtime()
    flags = int(call("cudaGetDeviceFlags")) & int(cuda.cudaDeviceScheduleMask)
    names = {"Spin": "spin", "Yield": "yield", "BlockingSync": "blocking"}
    for name, word in names.items():
        if flags == int(getattr(cuda, f"cudaDeviceSchedule{name}")):
            return word
    return "auto"


def _error(cuda: ModuleType, name: str, status: Any, arguments: tuple[Any, ...]) -> EngineError:
    if status.name in NO_DRIVER:
        return EngineError(
            f"no NVIDIA GPU responds ({status.name}): a TensorRT engine needs one and its "
            "driver; run segnet-doctor, or use the .onnx file on the CPU"
        )
    if status == cuda.cudaError_t.cudaErrorMemoryAllocation:
        wanted = next((a for a in arguments if isinstance(a, int)), 0)
        free = ""
        with contextlib.suppress(EngineError):
            left, total = call("cudaMemGetInfo")
            free = f", {left / 1e6:.0f} of {total / 1e6:.0f} MB are free"
        return EngineError(
            f"out of GPU memory: {wanted / 1e6:.1f} MB requested{free}; close other programs or "
            "build with a smaller --batch-range"
        )
    return EngineError(f"{name} failed with {status.name}")


class Stream:
    """A CUDA stream that does not wait for the default stream, nor makes it wait.

    So the work of other threads there does not break a capture on this stream.
    """

    def __init__(self) -> None:
        flags = runtime().cudaStreamNonBlocking
        self._handle: Any = call("cudaStreamCreateWithFlags", flags)

    def __int__(self) -> int:
        return int(self._handle)

    def wait(self, event: Event) -> None:
        """Let what is enqueued from now on start after the event; the host does not wait."""
        call("cudaStreamWaitEvent", self._handle, event.handle, 0)

    def sync(self) -> None:
        """Wait for everything enqueued on the stream."""
        call("cudaStreamSynchronize", self._handle)

    def close(self) -> None:
        """Free it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            call("cudaStreamDestroy", handle)


class Event:
    """A point on a stream, with a time unless `timed` is False."""

    def __init__(self, timed: bool = True) -> None:
        flags = 0 if timed else runtime().cudaEventDisableTiming
        self.handle: Any = call("cudaEventCreateWithFlags", flags)

    def record(self, stream: int) -> None:
        """Record it on the stream, a cudaStream_t."""
        call("cudaEventRecord", self.handle, stream)

    def since(self, earlier: Event) -> float:
        """Return the seconds from `earlier` to this; both must have completed."""
        return float(call("cudaEventElapsedTime", earlier.handle, self.handle)) / 1e3

    def close(self) -> None:
        """Free it."""
        handle, self.handle = self.handle, None
        if handle is not None:
            call("cudaEventDestroy", handle)


class DeviceBuffer:
    """GPU memory."""

    def __init__(self, nbytes: int):
        self.nbytes = nbytes
        self.pointer = int(call("cudaMalloc", max(1, nbytes)))

    def close(self) -> None:
        """Free it."""
        pointer, self.pointer = self.pointer, 0
        if pointer:
            call("cudaFree", pointer)


class PinnedBuffer:
    """Pinned host memory, which the GPU accesses directly, as a numpy array."""

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any]):
        nbytes = int(np.prod(shape)) * dtype.itemsize
        self._pointer = int(call("cudaMallocHost", max(1, nbytes)))
        memory: Any = (ctypes.c_byte * nbytes).from_address(self._pointer)
        self.array: Array = np.frombuffer(memory, dtype).reshape(shape)

    @property
    def pointer(self) -> int:
        return self._pointer

    def close(self) -> None:
        """Free it; `array` becomes empty."""
        pointer, self._pointer = self._pointer, 0
        self.array = np.empty(0, self.array.dtype)
        if pointer:
            call("cudaFreeHost", pointer)
