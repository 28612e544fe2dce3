"""Do session, graphs, buffers, threads and array interfaces work on this GPU?

In a dry run the checks run on the host (gpu/host_runtime.py), without those that need a GPU: failed
launches, and arrays handed to PyTorch and CuPy.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import shutil
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import cases
import numpy as np

from gpu import host_runtime
from gpu.allocation_counter import counted
from gpu.libraries import Kernels, find_native, open_kernels
from gpu.place import Place
from gpu.record import Record
from segnet_deploy.runtimes.base import Port
from segnet_deploy.system.memory import rss_bytes
from segnet_deploy.types import Array

SHAPE = (1, 17, 45, 61)
FRAMES = 200
REOPENED = 200
GROWTH_BYTES = 16 << 20
CREATED_AGAIN = 12  # inputs at different addresses, more than a session keeps graphs for

Check = Callable[["Pieces"], Any]


class Pieces:
    """What the checks share: the kernels, inputs, and how a session around a pair is opened."""

    def __init__(self, place: Place):
        self.place, self.kernels = place, open_kernels(place)
        self.rng = np.random.default_rng(0)

    def open(self, kernels: Kernels | None = None, shape: tuple[int, int, int, int] = SHAPE) -> Any:
        """Return a session whose outputs are y, codes and back."""
        from segnet_deploy.runtimes.tensorrt.session import Session

        n, c, h, w = shape
        pair = (kernels or self.kernels).pair("fp32", "NCHW", shape)
        f32, i32 = np.dtype(np.float32), np.dtype(np.int32)
        half = ((h + 1) // 2, (w + 1) // 2)
        outputs = [
            Port("y", (n, c, *half), f32),
            Port("codes", (n, (c + 15) // 16, *half), i32),
            Port("back", shape, f32),
        ]
        return Session(pair, [Port("x", shape, f32)], outputs)

    def input(self) -> Array:
        """Return a random input with ties."""
        return self.rng.integers(-3, 4, SHAPE).astype(np.float32)


def expect(x: Array, found: Mapping[str, Array]) -> None:
    """Raise AssertionError if the outputs of a session are not those of the reference."""
    y, index = cases.pool_reference(x, True)
    codes = cases.pack_codes(cases.codes_from_index(index, x.shape[3]))
    back = cases.unpool_reference(y, index, (x.shape[2], x.shape[3]))
    for name, wanted in (("y", y), ("codes", codes), ("back", back)):
        if not np.array_equal(found[name], wanted):
            raise AssertionError(f"{name} differs from the reference")


def run(place: Place, record: Record) -> None:
    """Run each check; all of them must pass."""
    if place.dry:
        host_runtime.install()
    pieces = Pieces(place)
    record.fact("libraries", [pieces.kernels.origin])
    # It imports this module.
    from gpu import array_interfaces

    checks: list[Check] = [
        session_is_exact,
        session_allocates_nothing,
        new_inputs_are_exact,
        results_wait_for_no_other_thread,
        closing_frees_everything,
        two_copies_of_the_library,
    ]
    gpu_only: list[Check] = [errors_do_not_stay, *array_interfaces.CHECKS]
    if place.dry:
        for check in gpu_only:
            record.unjudged(_name(check), "needs a GPU")
    else:
        checks += gpu_only
    for check in checks:
        try:
            value = check(pieces)
            place.synchronize()
            record.must(_name(check), True, value)
        except Exception as error:
            traceback.print_exc()
            record.must(_name(check), False, f"{type(error).__name__}: {error}"[:300])


def _name(check: Check) -> str:
    return (check.__doc__ or "").splitlines()[0]


def session_is_exact(pieces: Pieces) -> Any:
    """a session is exact, directly and from its CUDA graph"""
    with closing(pieces.open()) as session:
        for _ in range(5):
            x = pieces.input()
            expect(x, session.run({"x": x}))
        if session.captured == pieces.place.dry:
            reason = getattr(session, "capture_error", None)
            raise AssertionError(f"captured is {session.captured}: {reason}")
        return f"{1e6 * session.gpu_seconds:.1f} us on the GPU"


def session_allocates_nothing(pieces: Pieces) -> Any:
    """no memory, stream, event or graph is created per frame"""
    from segnet_deploy.runtimes.tensorrt import cuda_objects

    with closing(pieces.open()) as session, counted(cuda_objects.runtime()) as counts:
        x = pieces.input()
        for _ in range(3):
            session.run({"x": x})
        if not counts["cudaMalloc"] + counts["cudaEventRecord"]:
            raise AssertionError("the counter counts nothing")
        created = counts.created()
        for _ in range(FRAMES):
            expect(x, session.run({"x": x}))
        if counts.created() != created:
            raise AssertionError(f"{counts.created() - created} in {FRAMES} frames: {dict(counts)}")
    return f"{FRAMES} frames"


def new_inputs_are_exact(pieces: Pieces) -> Any:
    """inputs at many addresses, in turns, are exact"""
    from segnet_deploy.runtimes.tensorrt.cuda_objects import DeviceBuffer, call, runtime
    from segnet_deploy.runtimes.tensorrt.device_arrays import DeviceArray

    kinds = runtime().cudaMemcpyKind
    inputs = [pieces.input() for _ in range(CREATED_AGAIN)]
    buffers = [DeviceBuffer(x.nbytes) for x in inputs]
    with closing(pieces.open()) as session:
        for x, buffer in zip(inputs, buffers, strict=True):
            call(
                "cudaMemcpy", buffer.pointer, x.ctypes.data, x.nbytes, kinds.cudaMemcpyHostToDevice
            )
        for turn in range(3):
            for x, buffer in zip(inputs, buffers, strict=True):
                array = DeviceArray(buffer.pointer, x.shape, x.dtype)
                found = session.run_on_device({"x": array})
                expect(x, {name: _to_host(value) for name, value in found.items()})
            expect(inputs[turn], session.run({"x": inputs[turn]}))
    for buffer in buffers:
        buffer.close()
    return f"{CREATED_AGAIN} inputs"


def results_wait_for_no_other_thread(pieces: Pieces) -> Any:
    """two sessions on two threads are exact while a third thread allocates"""
    from segnet_deploy.runtimes.tensorrt.cuda_objects import DeviceBuffer

    failures: list[BaseException] = []
    stop = threading.Event()

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(4):  # each captures again
                with closing(pieces.open()) as session:
                    for _ in range(FRAMES // 8):
                        x = rng.integers(-3, 4, SHAPE).astype(np.float32)
                        expect(x, session.run({"x": x}))
        except BaseException as error:
            failures.append(error)

    def allocate() -> None:
        try:
            while not stop.wait(0.001):
                DeviceBuffer(1 << 20).close()
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    third = threading.Thread(target=allocate)
    for thread in (*workers, third):
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    third.join()
    if failures:
        raise failures[0]
    return f"2 x {4 * (FRAMES // 8)} frames"


def closing_frees_everything(pieces: Pieces) -> Any:
    """opening and closing a session many times does not grow"""
    from segnet_deploy.runtimes.tensorrt.cuda_objects import call

    def used() -> int:
        free, total = call("cudaMemGetInfo")
        return int(total - free)

    before = memory = 0
    for number in range(REOPENED):
        with closing(pieces.open()) as session:
            x = pieces.input()
            session.run({"x": x})
            session.run({"x": x})
        if number == REOPENED // 10:
            before, memory = used(), rss_bytes() or 0
    grown, host = used() - before, (rss_bytes() or 0) - memory
    if grown > GROWTH_BYTES or host > GROWTH_BYTES:
        raise AssertionError(f"{grown} bytes more on the GPU, {host} on the host")
    return f"{REOPENED} times: {grown} bytes on the GPU, {host} on the host"


def errors_do_not_stay(pieces: Pieces) -> Any:
    """a launch that fails does not make the next one fail"""
    from segnet_deploy.errors import EngineError
    from segnet_deploy.runtimes.tensorrt.cuda_objects import DeviceBuffer, call, runtime

    x = pieces.input()
    pair = pieces.kernels.pair("fp32", "NCHW", (1, 16, 4, 8))
    refused = ""
    with closing(pieces.open()) as session, closing(DeviceBuffer(1 << 16)) as buffer:
        at = buffer.pointer
        # A launch on the legacy stream is refused while a blocking stream is captured.
        stream = call("cudaStreamCreate")
        mode = runtime().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call("cudaStreamBeginCapture", stream, mode)
        try:
            pair.pool(at, at + 4096, at + 8192, 0)
        except EngineError as error:
            refused = str(error)
        for name in ("cudaStreamEndCapture", "cudaStreamDestroy"):
            with contextlib.suppress(EngineError):
                call(name, stream)
        if not refused:
            raise AssertionError("the launch on the legacy stream was not refused")
        for _ in range(3):
            expect(x, session.run({"x": x}))
    return refused


def two_copies_of_the_library(pieces: Pieces) -> Any:
    """a second copy of the library, with its own CUDA runtime, works next to the first"""
    name = "host_loop" if pieces.place.dry else "kernels"
    path, _ = find_native(name, pieces.place)
    copy = pieces.place.folder / f"copy-{path.name}"
    shutil.copyfile(path, copy)
    library: ctypes.CDLL
    if pieces.place.dry:
        library = ctypes.CDLL(str(copy))
    else:
        import cuda_kernels

        library = cuda_kernels.open_library(copy)
    second = Kernels(library, str(copy), pieces.place.dry)
    x = pieces.input()
    with closing(pieces.open()) as one, closing(pieces.open(second)) as other:
        for _ in range(3):
            expect(x, one.run({"x": x}))
            expect(x, other.run({"x": x}))


@functools.cache
def _kinds() -> Any:
    from segnet_deploy.runtimes.tensorrt.cuda_objects import runtime

    return runtime().cudaMemcpyKind


def _to_host(array: Any) -> Array:
    from segnet_deploy.runtimes.tensorrt.cuda_objects import call

    found: Array = np.empty(array.shape, array.dtype)
    kind = _kinds().cudaMemcpyDeviceToHost
    call("cudaMemcpy", found.ctypes.data, array.pointer, found.nbytes, kind)
    return found
