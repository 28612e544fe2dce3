"""Arrays handed to PyTorch and CuPy and back without the host, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpu.pieces import SHAPE, Pieces, expect
from segnet_deploy.types import Array

BUSY_CYCLES = 100_000_000  # about 50 ms, in which a producer is still at work


class OnlyDlpack:
    """Hides every interface of an array but DLPack."""

    def __init__(self, array: Any):
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def torch_arrays(pieces: Pieces) -> Any:
    """PyTorch's arrays go in, and come out without a copy"""
    with closing(pieces.open()) as session:
        for _ in range(3):
            x = pieces.input()
            found = session.run_on_device({"x": torch.from_numpy(x).cuda()})
            arrays = {name: torch.as_tensor(value, device="cuda") for name, value in found.items()}
            for name, array in arrays.items():
                if array.data_ptr() != found[name].pointer:
                    raise AssertionError(f"{name} was copied")
            expect(x, {name: array.cpu().numpy() for name, array in arrays.items()})


def cupy_arrays(pieces: Pieces) -> Any:
    """CuPy's arrays go in, and come out without a copy"""
    import cupy

    with closing(pieces.open()) as session:
        for _ in range(3):
            x = pieces.input()
            found = session.run_on_device({"x": cupy.asarray(x)})
            arrays = {name: cupy.asarray(value) for name, value in found.items()}
            for name, array in arrays.items():
                if array.data.ptr != found[name].pointer:
                    raise AssertionError(f"{name} was copied")
            expect(x, {name: cupy.asnumpy(array) for name, array in arrays.items()})
    return f"cupy {cupy.__version__}"


def dlpack_arrays(pieces: Pieces) -> Any:
    """arrays that have only DLPack, of PyTorch and of CuPy, go in"""
    import cupy

    with closing(pieces.open()) as session:
        for make in (lambda x: torch.from_numpy(x).cuda(), cupy.asarray):
            x = pieces.input()
            found = session.run_on_device({"x": OnlyDlpack(make(x))})
            expect(x, _to_host(found))


def torch_producer_is_waited_for(pieces: Pieces) -> Any:
    """an input that PyTorch still writes on another stream is waited for"""
    _hand_over_while_it_is_written(pieces, lambda array: array)


def dlpack_producer_is_waited_for(pieces: Pieces) -> Any:
    """an input with only DLPack that is still written on another stream is waited for"""
    _hand_over_while_it_is_written(pieces, OnlyDlpack)


def cupy_producer_is_waited_for(pieces: Pieces) -> Any:
    """an input that CuPy still writes on another stream is waited for"""
    import cupy

    with closing(pieces.open()) as session:
        for _ in range(2):
            x = pieces.input()
            source, array = cupy.asarray(x), cupy.zeros(SHAPE, np.float32)
            cupy.cuda.Device().synchronize()
            stream = cupy.cuda.Stream(non_blocking=True)
            with torch.cuda.stream(torch.cuda.ExternalStream(stream.ptr)):  # type: ignore[no-untyped-call]
                torch.cuda._sleep(BUSY_CYCLES)  # type: ignore[no-untyped-call]
            with stream:
                array[...] = source
                found = session.run_on_device({"x": array})
            expect(x, _to_host(found))


def out_of_memory_is_one_line(pieces: Pieces) -> Any:
    """a request for more memory than there is says how much is free"""
    from segnet_deploy.errors import EngineError
    from segnet_deploy.runtimes.tensorrt.cuda_objects import DeviceBuffer

    try:
        DeviceBuffer(1 << 46).close()
    except EngineError as error:
        if "are free" not in str(error):
            raise
        x = pieces.input()
        with closing(pieces.open()) as session:
            expect(x, session.run({"x": x}))
        return str(error)
    raise AssertionError("2^46 bytes were allocated")


def _hand_over_while_it_is_written(pieces: Pieces, interface: Callable[[Tensor], Any]) -> None:
    """Run on a tensor that PyTorch still writes, handed over as `interface` of it."""
    with closing(pieces.open()) as session:
        for _ in range(2):  # directly, then from a graph
            x = pieces.input()
            source = torch.from_numpy(x).cuda()
            array = torch.zeros(SHAPE, device="cuda")
            torch.cuda.synchronize()
            with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
                torch.cuda._sleep(BUSY_CYCLES)  # type: ignore[no-untyped-call]
                array.copy_(source)
                found = session.run_on_device({"x": interface(array)})
            expect(x, _to_host(found))


def _to_host(found: Any) -> dict[str, Array]:
    return {
        name: torch.as_tensor(value, device="cuda").cpu().numpy() for name, value in found.items()
    }


CHECKS = [
    torch_arrays,
    cupy_arrays,
    dlpack_arrays,
    torch_producer_is_waited_for,
    dlpack_producer_is_waited_for,
    cupy_producer_is_waited_for,
    out_of_memory_is_one_line,
]
