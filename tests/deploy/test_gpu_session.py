"""The GPU session without a GPU: the order of its work, its graph, other libraries' arrays."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch
from deferred_cuda import NON_BLOCKING, DeferredCuda

from gpu.host_runtime import NAMES
from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.tensorrt import cuda_objects
from segnet_deploy.runtimes.tensorrt.cuda_objects import DeviceBuffer
from segnet_deploy.runtimes.tensorrt.device_arrays import (
    LEGACY_STREAM,
    DeviceArray,
    device_array,
    read_capsule,
)
from segnet_deploy.runtimes.tensorrt.session import Session
from segnet_deploy.types import Array

SHAPE = (2, 3)
F32 = np.dtype(np.float32)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeferredCuda]:
    module = DeferredCuda()
    for name in NAMES:
        monkeypatch.setitem(sys.modules, name, module)
    cuda_objects.runtime.cache_clear()
    yield module
    cuda_objects.runtime.cache_clear()


def view(address: int) -> Array:
    """Return the SHAPE floats at an address."""
    memory: Any = (np.ctypeslib.ctypes.c_float * 6).from_address(address)
    return np.frombuffer(memory, F32).reshape(SHAPE)


class Doubling:
    """An executable: y = 2 x. It counts how often the host enqueues it."""

    def __init__(self, cuda: DeferredCuda, error: str | None = None):
        self.cuda, self.error, self.enqueued = cuda, error, 0

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        self.enqueued += 1
        if self.error is not None and self.enqueued == 2:  # while a graph is captured
            raise EngineError(self.error)
        x, y = view(addresses["x"]), view(addresses["y"])
        self.cuda.enqueue(stream, lambda: np.multiply(x, 2, out=y) is None)  # type: ignore[arg-type]


def open_session(executable: Doubling, capture: bool = True) -> Any:
    return closing(Session(executable, [Port("x", SHAPE, F32)], [Port("y", SHAPE, F32)], capture))


def values(seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


class Producer:
    """A library that writes an array on a stream of its own, late."""

    def __init__(self, cuda: DeferredCuda, x: Array, stream: int):
        self.cuda, self.stream = cuda, stream
        self.buffer = DeviceBuffer(x.nbytes)
        target = view(self.buffer.pointer)
        target[...] = -99
        cuda.enqueue(stream, lambda: np.copyto(target, x))
        self.facts = {"shape": SHAPE, "typestr": "<f4", "data": (self.buffer.pointer, False)}


class ArrayInterface(Producer):
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.facts, "version": 3, "stream": self.stream}


class ArrayInterfaceVersion2(Producer):
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.facts, "version": 2}


class Dlpack(Producer):
    """The capsule is torch's, of the same memory on the host; the device is said to be CUDA."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int) -> Any:
        if stream != -1:  # as the protocol wants it: the consumer's stream waits for ours
            event, point = 5000, self.stream
            self.cuda.cudaEventRecord(event, point)
            self.cuda.cudaStreamWaitEvent(stream, event, 0)
        return torch.from_numpy(view(self.buffer.pointer)).__dlpack__()


def test_session_captures_once_and_replays(cuda: DeferredCuda) -> None:
    executable = Doubling(cuda)
    with open_session(executable) as session:
        assert cuda.flags[int(session.stream)] == NON_BLOCKING
        assert not session.captured
        for seed in range(5):
            x = values(seed)
            assert np.array_equal(session.run({"x": x})["y"], 2 * x)
        assert session.captured
        assert session.capture_error is None
    assert executable.enqueued == 2  # directly, and for the graph
    assert cuda.calls == ["captured", *["launched"] * 4]


def test_arrays_at_other_addresses_use_the_same_graph(cuda: DeferredCuda) -> None:
    executable = Doubling(cuda)
    with open_session(executable) as session:
        for seed in range(12):
            array = ArrayInterface(cuda, values(seed), stream=77)
            found = session.run_on_device({"x": array})["y"]
            assert np.array_equal(view(found.pointer), 2 * values(seed))
            x = values(100 + seed)
            assert np.array_equal(session.run({"x": x})["y"], 2 * x)
    assert executable.enqueued == 2


@pytest.mark.parametrize("kind", [ArrayInterface, ArrayInterfaceVersion2, Dlpack])
def test_session_waits_for_the_stream_that_writes_its_input(
    cuda: DeferredCuda, kind: type[Producer]
) -> None:
    stream = LEGACY_STREAM if kind is ArrayInterfaceVersion2 else 77
    with open_session(Doubling(cuda)) as session:
        for seed in range(3):  # directly, then from the graph
            found = session.run_on_device({"x": kind(cuda, values(seed), stream)})["y"]
            assert np.array_equal(view(found.pointer), 2 * values(seed))
            assert found.__cuda_array_interface__["stream"] is None  # complete


def test_deferred_streams_show_a_missing_wait(cuda: DeferredCuda) -> None:
    """Without the stream in the interface nothing is waited for, and the result is wrong."""
    with open_session(Doubling(cuda)) as session:
        late = ArrayInterface(cuda, values(0), 77)
        array = DeviceArray(late.buffer.pointer, SHAPE, F32)
        found = session.run_on_device({"x": array})["y"]
        assert not np.array_equal(view(found.pointer), 2 * values(0))


@pytest.mark.parametrize("by_executable", [True, False])
def test_failed_capture_is_reported_and_runs_continue(
    cuda: DeferredCuda, by_executable: bool
) -> None:
    executable = Doubling(cuda, "layer 7 allocates" if by_executable else None)
    if not by_executable:
        cuda.refuse = "cudaStreamEndCapture"
    with open_session(executable) as session:
        for seed in range(3):
            assert np.array_equal(session.run({"x": values(seed)})["y"], 2 * values(seed))
        assert not session.captured
        wanted = "layer 7 allocates" if by_executable else "cudaErrorNotSupported"
        assert wanted in session.capture_error


def test_session_without_capture_runs_directly(cuda: DeferredCuda) -> None:
    executable = Doubling(cuda)
    with open_session(executable, capture=False) as session:
        for seed in range(3):
            session.run({"x": values(seed)})
        assert not session.captured
    assert executable.enqueued == 3
    assert cuda.calls == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8])
def test_dlpack_capsule_is_read_without_a_copy(dtype: torch.dtype) -> None:
    tensor = torch.zeros(2, 3, 4, dtype=dtype)[1:]
    array, strides = read_capsule(tensor.__dlpack__())
    assert (array.pointer, array.shape) == (tensor.data_ptr(), (1, 3, 4))
    assert str(array.dtype) == str(dtype).removeprefix("torch.")
    assert strides == tensor.stride()


def test_dlpack_type_that_numpy_lacks_is_an_error() -> None:
    with pytest.raises(InputError, match="type 4 of 16 bits"):
        read_capsule(torch.zeros(2, dtype=torch.bfloat16).__dlpack__())


def test_dlpack_refusal_of_the_other_library_is_an_error() -> None:
    class Refusing:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __dlpack__(self, stream: int) -> Any:
            raise BufferError("requires grad")

    with pytest.raises(InputError, match="Refusing does not share its array: requires grad"):
        device_array(Refusing())
