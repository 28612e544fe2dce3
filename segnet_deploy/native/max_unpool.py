"""The op pair and the label map on the CPU: native code if it was built, else numpy.

Planes are (P, H, W, K) arrays: K channels packed side by side, or K = 1 for one channel each.
Each plane is contiguous; the planes need not be. Source: plugins/cpu.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from segnet_deploy.native.find import find_library
from segnet_deploy.types import Array

_KINDS = ("float32", "int8", "uint8")  # CpuElement in plugins/include/segnet/window_code.h
_PACKS = (1, 4, 8, 16)
LABELS = 256  # of a label map


def pooled_size(size: tuple[int, int], ceil_mode: bool) -> tuple[int, int]:
    """Return the (height, width) after 2x2 pooling."""
    extra = 1 if ceil_mode else 0
    return (size[0] + extra) // 2, (size[1] + extra) // 2


def pool(x: Array, y: Array, ceil_mode: bool, threads: int = 1) -> Array:
    """Pool planes `x` into planes `y`; return the codes, uint8 of y's shape.

    A code is the position, 0 1 / 2 3, of the first maximum; NaN is selected as in PyTorch.
    """
    codes = np.empty(y.shape, np.uint8)
    if y.size and not _call("segnet_cpu_pool", (x, y, codes), x, y, ceil_mode, threads):
        _pool(x, y, codes)
    return codes


def unpool(y: Array, codes: Array, x: Array, ceil_mode: bool, threads: int = 1) -> None:
    """Write planes `y` into planes `x` at the positions in `codes`, zero elsewhere.

    Raises ValueError if the sizes are not those of a pool from `x` to `y`.
    """
    pooled = (len(x), *pooled_size((x.shape[1], x.shape[2]), ceil_mode), x.shape[3])
    if not y.shape == codes.shape == pooled:
        raise ValueError(f"values {y.shape}, codes {codes.shape} for {x.shape}; expected {pooled}")
    if not y.size:
        x[...] = 0
    elif not _call("segnet_cpu_unpool", (y, codes, x), x, y, ceil_mode, threads):
        _unpool(y, codes, x)


def label_map(logits: Array) -> Array:
    """Return the first maximum over (C, H, W) logits, as (H, W) uint8.

    Raises ValueError for more than 256 channels.
    """
    classes, height, width = logits.shape
    if classes > LABELS:
        raise ValueError(f"{classes} classes; a label map holds {LABELS}")
    library = _library()
    inside = logits.strides[1:] == (4 * width, 4)
    if library is None or logits.dtype != np.float32 or not inside:
        return _label_map(logits)
    labels = np.empty((height, width), np.uint8)
    step = logits.strides[0] // 4
    library.segnet_cpu_labels(_at(logits), _at(labels), *map(_int64, (classes, labels.size, step)))
    return labels


def is_native() -> bool:
    """Return whether the native library was built and can be loaded."""
    return _library() is not None


def _call(
    name: str, buffers: tuple[Array, ...], x: Array, y: Array, ceil_mode: bool, threads: int
) -> bool:
    """Run the native operation; return False if it does not support these planes."""
    library, kind, pack = _library(), x.dtype.name, x.shape[3]
    planes_whole = all(a[0].flags.c_contiguous for a in (x, y))
    if library is None or kind not in _KINDS or pack not in _PACKS or not planes_whole:
        return False
    numbers = map(_int64, (*x.shape, x.strides[0] // x.itemsize, y.strides[0] // y.itemsize))
    operation = getattr(library, name)
    status: int = operation(
        _KINDS.index(kind), *map(_at, buffers), *numbers, int(ceil_mode), threads
    )
    return status == 0


@functools.cache
def _library() -> Any:
    path = find_library("segnet_cpu")
    try:
        return None if path is None else ctypes.CDLL(str(path))
    except OSError:  # built for another machine: numpy is used
        return None


_int64 = ctypes.c_int64


def _at(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _label_map(logits: Array) -> Array:
    """Return the first maximum, plane by plane: faster than numpy's argmax over axis 0."""
    best = logits[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for index in range(1, len(logits)):
        wins = logits[index] > best
        labels[wins] = index
        np.maximum(best, logits[index], out=best)
    return labels


def _elements(x: Array, pooled: tuple[int, ...]) -> list[tuple[int, Array, tuple[slice, slice]]]:
    """Return, for each position of a window, its code, its elements and the windows with one."""
    found = []
    for code in range(4):
        part = x[:, code // 2 :: 2, code % 2 :: 2][:, : pooled[1], : pooled[2]]
        found.append((code, part, (slice(part.shape[1]), slice(part.shape[2]))))
    return found


def _pool(x: Array, y: Array, codes: Array) -> None:
    codes[...] = 0
    for code, part, (rows, columns) in _elements(x, y.shape):
        if code == 0:
            y[...] = part
            continue
        best, chosen = y[:, rows, columns], codes[:, rows, columns]
        with np.errstate(invalid="ignore"):
            wins = (part > best) | (part != part)
        best[wins], chosen[wins] = part[wins], code


def _unpool(y: Array, codes: Array, x: Array) -> None:
    x[...] = 0
    for code, part, (rows, columns) in _elements(x, y.shape):
        part[...] = np.where(codes[:, rows, columns] == code, y[:, rows, columns], x.dtype.type(0))
