"""CUDA's runtime on the host, for a dry run of programs that call it through cuda-python.

Memory is host memory, every stream is always finished, events have the time of the host. A graph
cannot be captured: that is an error, as on a device that does not support it.
"""

from __future__ import annotations

import ctypes
import enum
import itertools
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

NAMES = ("cuda.bindings.runtime", "cuda.cudart")  # under which cuda-python's runtime is imported


class Status(enum.IntEnum):
    """Some values of cudaError_t."""

    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorNotSupported = 801


_memory: dict[int, Any] = {}
_handles = itertools.count(1)
_times: dict[int, float] = {}


def _allocate(nbytes: int, *_: int) -> tuple[Status, int]:
    block = ctypes.create_string_buffer(nbytes + 256)
    address = (ctypes.addressof(block) + 255) // 256 * 256
    _memory[address] = block
    return Status.cudaSuccess, address


def _free(address: Any) -> tuple[Status]:
    del _memory[int(address)]
    return (Status.cudaSuccess,)


def _handle(*_: Any) -> tuple[Status, int]:
    return Status.cudaSuccess, next(_handles)


def _record(event: int, *_: Any) -> tuple[Status]:
    _times[event] = time.perf_counter()
    return (Status.cudaSuccess,)


def _elapsed(first: int, second: int) -> tuple[Status, float]:
    return Status.cudaSuccess, 1e3 * (_times[second] - _times[first])


def _copy(to: int, origin: int, nbytes: int, *_: Any) -> tuple[Status]:
    ctypes.memmove(to, origin, nbytes)
    return (Status.cudaSuccess,)


def _fill(to: int, value: int, nbytes: int, *_: Any) -> tuple[Status]:
    ctypes.memset(to, value, nbytes)
    return (Status.cudaSuccess,)


def _success(*_: Any) -> tuple[Status]:
    return (Status.cudaSuccess,)


def _refuse(*_: Any) -> tuple[Status]:
    return (Status.cudaErrorNotSupported,)


def _memory_info() -> tuple[Status, int, int]:
    used = sum(len(block) for block in _memory.values())
    return Status.cudaSuccess, (1 << 33) - used, 1 << 33


_FUNCTIONS = {
    _allocate: ("cudaMalloc", "cudaMallocHost", "cudaHostAlloc"),
    _free: ("cudaFree", "cudaFreeHost"),
    _handle: (
        "cudaStreamCreate",
        "cudaStreamCreateWithFlags",
        "cudaStreamCreateWithPriority",
        "cudaEventCreate",
        "cudaEventCreateWithFlags",
    ),
    _record: ("cudaEventRecord", "cudaEventRecordWithFlags"),
    _elapsed: ("cudaEventElapsedTime",),
    _copy: ("cudaMemcpyAsync", "cudaMemcpy"),
    _fill: ("cudaMemsetAsync", "cudaMemset"),
    _success: (
        "cudaStreamSynchronize",
        "cudaStreamDestroy",
        "cudaStreamWaitEvent",
        "cudaEventDestroy",
        "cudaEventSynchronize",
        "cudaDeviceSynchronize",
    ),
    _refuse: ("cudaStreamBeginCapture", "cudaStreamEndCapture"),
    _memory_info: ("cudaMemGetInfo",),
}


class HostRuntime(ModuleType):
    """A module with the functions of CUDA's runtime that this project calls."""

    def __init__(self) -> None:
        super().__init__("host_runtime", __doc__)
        self.cudaError_t = Status
        for function, names in _FUNCTIONS.items():
            for name in names:
                setattr(self, name, function)
        self.cudaMemcpyKind = SimpleNamespace(
            cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
        )
        modes = {"Global": 0, "ThreadLocal": 1, "Relaxed": 2}
        self.cudaStreamCaptureMode = SimpleNamespace(
            **{f"cudaStreamCaptureMode{name}": value for name, value in modes.items()}
        )
        self.cudaStreamNonBlocking, self.cudaEventDisableTiming = 1, 2


def install() -> ModuleType:
    """Let this process import the host's functions in place of cuda-python's; return them."""
    module = HostRuntime()
    for name in NAMES:
        sys.modules[name] = module
    return module
