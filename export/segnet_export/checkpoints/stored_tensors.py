"""Tensors as checkpoints store them: bytes, a type, a size and strides."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
    "QInt8Storage": torch.int8,  # the integers of quantised tensors
    "QUInt8Storage": torch.uint8,
    "QInt32Storage": torch.int32,
}
_MAX_DIMENSIONS = 16
_MAX_REPEATED = 2**24  # elements of a tensor that is larger than its storage


@dataclass(frozen=True)
class Storage:
    """The bytes that tensors are views of, from byte `start`; they may be read into it later."""

    buffer: bytearray
    dtype: torch.dtype
    start: int = 0

    def elements(self, dtype: torch.dtype) -> Tensor:
        """Return a flat tensor that shares the bytes."""
        count = (len(self.buffer) - self.start) // dtype.itemsize
        if count <= 0:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(self.buffer, dtype=dtype, count=count, offset=self.start)


@dataclass(frozen=True)
class SpecialTensor:
    """A tensor whose values are not plain numbers in the file; `kind` is such as 'quantised'."""

    kind: str


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Return a view of `storage` with `offset`, `size` and `stride` in elements.

    Raises UnpicklingError if it reaches beyond the storage.
    """
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _view(storage, storage.dtype, offset, size, stride)


def rebuild_typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *___: Any
) -> Tensor:
    """`rebuild_tensor` with another type than the storage's."""
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise pickle.UnpicklingError("a tensor without a storage or a type")
    return _view(storage, dtype, offset, size, stride)


def rebuild_parameter(data: Any = None, *_: Any) -> Any:
    """Return the tensor of a parameter."""
    return data


def rebuild_subclass(function: Any, _: Any, arguments: Any, __: Any) -> Any:
    """Return the tensor of a subclass, which `function` rebuilds; the state is dropped."""
    return function(*arguments)


def _view(storage: Storage, dtype: torch.dtype, offset: Any, size: Any, stride: Any) -> Tensor:
    numbers = (offset, *size, *stride)
    if any(type(n) is not int or n < 0 for n in numbers) or len(size) != len(stride):
        raise pickle.UnpicklingError(f"a tensor of size {size}, stride {stride}")
    flat, count = storage.elements(dtype), math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    repeated = count > max(len(flat), _MAX_REPEATED)
    if (count and last >= len(flat)) or repeated or len(size) > _MAX_DIMENSIONS:
        raise pickle.UnpicklingError(f"a tensor of size {tuple(size)} in {len(flat)} elements")
    return flat.as_strided(size, stride, offset) if count else torch.empty(size, dtype=dtype)


def _special(kind: str) -> Any:
    return lambda *_: SpecialTensor(kind)


SPECIAL_TENSORS = {
    f"torch._utils.{name}": _special(kind)
    for name, kind in {
        "_rebuild_qtensor": "quantised",
        "_rebuild_sparse_tensor": "sparse",
        "_rebuild_sparse_csr_tensor": "sparse",
        "_rebuild_meta_tensor_no_storage": "meta",
        "_rebuild_nested_tensor": "nested",
        "_rebuild_wrapper_subclass": "wrapped",
        "_rebuild_device_tensor_from_numpy": "device",
        "_rebuild_device_tensor_from_cpu_tensor": "device",
    }.items()
}
"""By the name of the function that would rebuild it: a function that returns a SpecialTensor."""
