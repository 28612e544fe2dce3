"""GPU arrays shared with other libraries without a copy."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from segnet_deploy.errors import InputError, MissingDependencyError
from segnet_deploy.optional import available, require
from segnet_deploy.runtimes.tensorrt.cuda_objects import EXTRA


@dataclass(frozen=True)
class DeviceArray:
    """A C-contiguous array on the GPU, which torch, CuPy and PyCUDA accept directly.

    Valid until the session's next run. Source: CUDA Array Interface, version 3.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int | None = None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "stream": self.stream,
            "version": 3,
        }


def device_array(value: Any) -> DeviceArray:
    """View an array of another library without a copy. Raises InputError.

    Accepts the CUDA Array Interface (PyCUDA, CuPy, numba, torch) or DLPack; C-contiguous only.
    """
    facts = getattr(value, "__cuda_array_interface__", None)
    if facts is not None:
        shape, dtype = tuple(facts["shape"]), np.dtype(facts["typestr"])
        strides = facts.get("strides")
        strides = None if strides is None else tuple(s // dtype.itemsize for s in strides)
        pointer = int(facts["data"][0])
    elif hasattr(value, "__dlpack__"):
        view = _memory_view(value)
        shape, dtype, strides, pointer = tuple(view.shape), view.dtype, view.strides, int(view.ptr)
        if not view.is_device_accessible:
            raise InputError("the array is in host memory; expected one on the GPU")
    else:
        raise InputError(
            f"{type(value).__name__} is not a GPU array; expected the CUDA Array Interface or "
            "DLPack: torch, CuPy, PyCUDA, numba"
        )
    if strides is not None and tuple(strides) != _contiguous(shape):
        raise InputError(f"the array {shape} has strides {tuple(strides)}; expected C order")
    return DeviceArray(pointer, shape, dtype)


def _memory_view(value: Any) -> Any:
    for name in ("cuda.core.utils", "cuda.core.experimental.utils"):
        if available("cuda.core"):
            with contextlib.suppress(MissingDependencyError):
                return require(name, EXTRA).StridedMemoryView.from_any_interface(value, -1)
    raise MissingDependencyError(
        'DLPack needs cuda.core; install it with: pip install "segnet-deploy[tensorrt]"'
    )


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))
