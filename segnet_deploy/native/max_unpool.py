"""Pooling with window codes, unpooling and the label map on the CPU, in native code or numpy.

Planes are (P, H, W, K) arrays: P planes of K channels that are packed next to each other; K may be
1. Each plane is contiguous; planes may be apart. The native code (plugins/cpu) is optional.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from segnet_deploy.native.find import find_library
from segnet_deploy.types import Array, Size

_KINDS = ("float32", "int8", "uint8")  # CpuElement in plugins/include/segnet/window_code.h
_PACKS = (1, 4, 8, 16)
MAX_CLASSES = 256  # of a label map, which is uint8


def pooled_size(size: Size, ceil_mode: bool) -> Size:
    """Return the (height, width) after 2x2 pooling."""
    extra = 1 if ceil_mode else 0
    return (size[0] + extra) // 2, (size[1] + extra) // 2


def pool(x: Array, y: Array, ceil_mode: bool, threads: int = 1) -> Array:
    """Pool planes `x` into planes `y`; return the window codes, uint8 with the shape of `y`.

    A code is the position 0 1 / 2 3 of the first maximum in its 2x2 window. As in PyTorch, NaN
    counts as the maximum. Empty planes are legal.

    Raises ValueError if `y` does not have the type and the shape of the pooled `x`.
    """
    _check_planes(x, y, y, ceil_mode)
    codes = np.empty(y.shape, np.uint8)
    if y.size and not _run_native("segnet_cpu_pool", (x, y, codes), x, y, ceil_mode, threads):
        _pool_numpy(x, y, codes)
    return codes


def unpool(y: Array, codes: Array, x: Array, ceil_mode: bool, threads: int = 1) -> None:
    """Write planes `y` into planes `x` at the positions in `codes`, and zero elsewhere.

    A code beyond 3, or of a position outside the plane, writes nothing.

    Raises ValueError if the shapes and types are not those of a pool from `x` to `y`.
    """
    _check_planes(x, y, codes, ceil_mode)
    if codes.dtype != np.uint8:
        raise ValueError(f"codes of type {codes.dtype}; expected uint8")
    codes = np.ascontiguousarray(codes)
    if not y.size:
        x[...] = 0
    elif not _run_native("segnet_cpu_unpool", (y, codes, x), x, y, ceil_mode, threads):
        _unpool_numpy(y, codes, x)


def label_map(logits: Array) -> Array:
    """Return the index of the first maximum over C of (C, H, W) logits, as (H, W) uint8.

    Raises ValueError without channels, and for more than 256.
    """
    if logits.ndim != 3:
        raise ValueError(f"logits {logits.shape}; expected (C, H, W)")
    classes, height, width = logits.shape
    if not 1 <= classes <= MAX_CLASSES:
        raise ValueError(f"{classes} classes; a label map holds 1 to {MAX_CLASSES}")
    library = _library()
    contiguous_planes = logits.strides[1:] == (4 * width, 4) and logits.strides[0] % 4 == 0
    if library is None or logits.dtype != np.float32 or not contiguous_planes:
        return _label_map_numpy(logits)
    if not logits.flags.aligned:
        return _label_map_numpy(logits)
    labels = np.empty((height, width), np.uint8)
    sizes = (classes, labels.size, logits.strides[0] // 4)
    status = library.segnet_cpu_labels(_pointer(logits), _pointer(labels), *map(_int64, sizes))
    return labels if status == 0 else _label_map_numpy(logits)


def is_native() -> bool:
    """Return whether the native library was built and can be loaded."""
    return _library() is not None


def _check_planes(x: Array, y: Array, codes: Array, ceil_mode: bool) -> None:
    """Raise ValueError unless `y` and `codes` have the pooled shape of `x`, and `y` its type."""
    if x.ndim != 4:
        raise ValueError(f"planes {x.shape}; expected 4 dimensions: (P, H, W, K)")
    pooled = (len(x), *pooled_size((x.shape[1], x.shape[2]), ceil_mode), x.shape[3])
    if not y.shape == codes.shape == pooled:
        raise ValueError(
            f"values {y.shape} and codes {codes.shape} for planes {x.shape}; expected {pooled}"
        )
    if y.dtype != x.dtype:
        raise ValueError(f"values are {y.dtype}, planes {x.dtype}; expected the same type")


def _is_addressable(array: Array) -> bool:
    """Return whether native code can step through `array`: elements, and contiguous planes."""
    whole_steps = array.strides[0] % array.itemsize == 0
    flags = array[0].flags
    return whole_steps and array.dtype.isnative and flags.aligned and flags.c_contiguous


def _run_native(
    name: str, buffers: tuple[Array, ...], x: Array, y: Array, ceil_mode: bool, threads: int
) -> bool:
    """Run the native operation on `buffers`; return False if it does not support these planes.

    That includes an array that must not be written, which numpy then refuses.
    """
    library, kind, pack = _library(), x.dtype.name, x.shape[3]
    if library is None or kind not in _KINDS or pack not in _PACKS:
        return False
    written = y if name == "segnet_cpu_pool" else x
    if not (written.flags.writeable and _is_addressable(x) and _is_addressable(y)):
        return False
    sizes = map(_int64, (*x.shape, x.strides[0] // x.itemsize, y.strides[0] // y.itemsize))
    operation = getattr(library, name)
    status: int = operation(
        _KINDS.index(kind), *map(_pointer, buffers), *sizes, int(ceil_mode), threads
    )
    return status == 0


@functools.cache
def _library() -> Any:
    path = find_library("segnet_cpu")
    try:
        return None if path is None else ctypes.CDLL(str(path))
    except OSError:  # built for another machine: use numpy
        return None


_int64 = ctypes.c_int64


def _pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _label_map_numpy(logits: Array) -> Array:
    """Compare plane by plane, which is faster than numpy's argmax over axis 0."""
    best = logits[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for index in range(1, len(logits)):
        wins = logits[index] > best
        labels[wins] = index
        np.maximum(best, logits[index], out=best)
    return labels


def _window_elements(
    x: Array, pooled: tuple[int, ...]
) -> list[tuple[int, Array, tuple[slice, slice]]]:
    """Return for each window code: the code, a view of its elements, and the windows with one.

    At odd sizes in ceil mode the last windows lack elements.
    """
    found = []
    for code in range(4):
        elements = x[:, code // 2 :: 2, code % 2 :: 2][:, : pooled[1], : pooled[2]]
        found.append((code, elements, (slice(elements.shape[1]), slice(elements.shape[2]))))
    return found


def _pool_numpy(x: Array, y: Array, codes: Array) -> None:
    codes[...] = 0
    for code, elements, (rows, columns) in _window_elements(x, y.shape):
        if code == 0:
            y[...] = elements
            continue
        best, best_codes = y[:, rows, columns], codes[:, rows, columns]
        with np.errstate(invalid="ignore"):
            wins = (elements > best) | (elements != elements)
        best[wins], best_codes[wins] = elements[wins], code


def _unpool_numpy(y: Array, codes: Array, x: Array) -> None:
    x[...] = 0
    for code, elements, (rows, columns) in _window_elements(x, y.shape):
        values = y[:, rows, columns]
        elements[...] = np.where(codes[:, rows, columns] == code, values, x.dtype.type(0))
