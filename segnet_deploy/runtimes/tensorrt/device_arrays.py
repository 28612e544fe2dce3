"""GPU arrays shared with other libraries without a copy, and the order of work on them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from segnet_deploy.errors import InputError

LEGACY_STREAM = 1
"""CUDA's number of the legacy default stream, which waits for all blocking streams."""
_CUDA, _CUDA_MANAGED = 2, 13  # DLPack's numbers of devices
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}  # DLPack's numbers of types, in numpy's letters


@dataclass(frozen=True)
class DeviceArray:
    """A C-contiguous array on the GPU, which torch, CuPy and PyCUDA accept directly.

    `stream` is a cudaStream_t with work that must end before the array is read, or None. An output
    of a session is complete, and valid until the session's next run. Source: CUDA Array Interface,
    version 3.
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


def device_array(value: Any, stream: int = -1) -> DeviceArray:
    """View an array of another library without a copy. Raises InputError.

    Accepts DLPack (torch, CuPy) or the CUDA Array Interface (also PyCUDA, numba), in C order. Work
    that is enqueued on `stream`, a cudaStream_t, later waits for whoever computes the array:
    the other library arranges that through DLPack, otherwise the result has the `stream` to wait
    for. -1 waits for nothing.
    """
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        array, strides = _from_dlpack(value, stream)
    elif (facts := getattr(value, "__cuda_array_interface__", None)) is not None:
        array, strides = _from_array_interface(facts)
    else:
        raise InputError(
            f"{type(value).__name__} is not a GPU array; expected the CUDA Array Interface or "
            "DLPack: torch, CuPy, PyCUDA, numba"
        )
    if strides is not None and strides != _contiguous(array.shape):
        raise InputError(f"the array {array.shape} has strides {strides}; expected C order")
    return array


def _from_array_interface(facts: dict[str, Any]) -> tuple[DeviceArray, tuple[int, ...] | None]:
    """Return the array and its strides in elements.

    Version 2 has no stream: then the work is assumed on the default stream or a blocking one.
    """
    shape, dtype = tuple(facts["shape"]), np.dtype(facts["typestr"])
    strides = facts.get("strides")
    if strides is not None:
        strides = tuple(stride // dtype.itemsize for stride in strides)
    stream = facts.get("stream", LEGACY_STREAM)
    return DeviceArray(int(facts["data"][0]), shape, dtype, stream), strides


class _Tensor(ctypes.Structure):
    """DLTensor, the start of a DLManagedTensor. Source: dlpack.h of DLPack 0.8."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("rank", ctypes.c_int32),
        ("kind", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def _from_dlpack(value: Any, stream: int) -> tuple[DeviceArray, tuple[int, ...] | None]:
    """Return the array and its strides in elements; `value` still owns the memory."""
    if int(value.__dlpack_device__()[0]) not in (_CUDA, _CUDA_MANAGED):
        raise InputError("the array is in host memory; expected one on the GPU")
    try:
        capsule = value.__dlpack__(stream=stream)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{type(value).__name__} does not share its array: {error}") from error
    return read_capsule(capsule)


def read_capsule(capsule: Any) -> tuple[DeviceArray, tuple[int, ...] | None]:
    """Read a DLPack capsule without taking its memory: it is valid as long as its owner."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    if tensor.kind not in _KINDS or tensor.lanes != 1:
        raise InputError(
            f"the array has DLPack's type {tensor.kind} of {tensor.bits} bits; expected an integer "
            "or a float that numpy has"
        )
    shape = tuple(tensor.shape[: tensor.rank])
    dtype = np.dtype(f"{_KINDS[tensor.kind]}{tensor.bits // 8}")
    strides = tuple(tensor.strides[: tensor.rank]) if tensor.strides else None
    return DeviceArray((tensor.data or 0) + tensor.byte_offset, shape, dtype), strides


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))
