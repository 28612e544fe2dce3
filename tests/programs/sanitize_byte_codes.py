"""The random cases of sanitize.py for libsegnet_cpu: pools with one code per byte, label maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from sanitize_cases import (
    CPU_TYPES,
    HUGE,
    PACKS,
    Buffer,
    Libraries,
    broken,
    expected_pool,
    expected_unpool,
    filled,
    random_shape,
    random_values,
    require_equal,
    require_status,
    sizes_of,
)


class Planes:
    """Planes (P, H, W, K) in one buffer, `gap` elements between consecutive ones."""

    def __init__(self, values: Any, gap: int):
        count, plane = len(values), int(np.prod(values.shape[1:]))
        self.step = plane + gap
        size = (count - 1) * self.step + plane if count else 0
        self.buffer = Buffer((size,), values.dtype)
        self.address = self.buffer.address
        item = values.dtype.itemsize
        rows = (values.shape[2] * values.shape[3] * item, values.shape[3] * item, item)
        self.array = as_strided(self.buffer.array, values.shape, (self.step * item, *rows))

    def gaps(self) -> Any:
        """Return a copy of the buffer in which every element of a plane is zero."""
        saved = self.array.copy()
        self.array[...] = 0
        copied = self.buffer.array.copy()
        self.array[...] = saved
        return copied


def byte_codes(libraries: Libraries, rng: Any) -> None:
    """The pair on valid planes."""
    element, pack, ceil_mode = int(rng.integers(3)), int(rng.choice(PACKS)), bool(rng.integers(2))
    count, _, h, w = random_shape(rng, (pack,))
    planes = random_values(rng, (count, h, w, pack), CPU_TYPES[element])
    y, codes, _ = expected_pool(planes.transpose(0, 3, 1, 2), ceil_mode)
    pooled, codes = y.transpose(0, 2, 3, 1), codes.transpose(0, 2, 3, 1).astype(np.uint8)
    gaps = rng.choice((0, 0, 1, 5), 2)
    x, out, code = Planes(planes, gaps[0]), Planes(pooled, gaps[1]), Buffer(codes.shape, np.uint8)
    x.array[...] = planes
    sizes = sizes_of(count, h, w, pack, x.step, out.step)
    rest = (*sizes, int(ceil_mode), int(rng.choice((-1, 0, 1, 2, 3, 2**31 - 1))))
    gap_before = out.gaps()
    library = libraries.cpu
    given = (x.address, out.address, code.address)
    require_status(library.segnet_cpu_pool(element, *given, *rest), 0)
    require_equal("y", out.array, pooled)
    require_equal("codes", code.array, codes)
    require_equal("gaps of y", out.gaps(), gap_before)
    back = Planes(planes, gaps[0])
    gap_before = back.gaps()
    for what in ("x", "x of any codes"):
        given = (out.address, code.address, back.address)
        require_status(library.segnet_cpu_unpool(element, *given, *rest), 0)
        current = code.array.transpose(0, 3, 1, 2)
        expected = expected_unpool(y, current, (h, w)).transpose(0, 2, 3, 1)
        require_equal(what, back.array, expected)
        require_equal("gaps of x", back.gaps(), gap_before)
        code.array[...] = rng.integers(0, rng.choice((4, 256)), codes.shape)


def wrong_byte_codes(libraries: Libraries, rng: Any) -> None:
    """The pair with one argument that cannot be right."""
    element, pack = int(rng.integers(3)), int(rng.choice(PACKS))
    count, h, w = 3, *map(int, rng.integers(2, 9, 2))
    full, pooled = h * w * pack, (h // 2) * (w // 2) * pack
    sizes = [count, h, w, pack, full, pooled]
    blocks = [Buffer((64,), np.uint8) for _ in range(3)]
    pointers = [block.address for block in blocks]
    kind, expected = int(rng.integers(5)), 2
    if kind == 0:
        element, expected = int(rng.choice((-1, 3, 4, 2**31 - 1, -(2**31)))), 1
    elif kind == 1:
        sizes[3], expected = int(rng.choice((-4, 0, 2, 3, 5, 32, *HUGE))), 1
    elif kind == 2:
        sizes[:3] = broken(rng, sizes[:3])
    elif kind == 3:
        sizes[4] = sizes[5] = int(rng.choice((0, pooled - 1, 1 - pooled, -(2**63), *HUGE[2:])))
    else:
        pointers = [None, None, None]
    rest = (*sizes_of(*sizes), 0, int(rng.integers(1, 4)))
    require_status(libraries.cpu.segnet_cpu_pool(element, *pointers, *rest), expected)
    require_status(libraries.cpu.segnet_cpu_unpool(element, *pointers, *rest), expected)


def label_map(libraries: Libraries, rng: Any) -> None:
    """The label map of valid and of impossible sizes."""
    classes, size = int(rng.integers(1, 12)), int(rng.choice((0, 1, 7, 1023, 1024, 1025, 2100)))
    if rng.random() < 0.05:
        classes, size = 256, int(rng.integers(1, 80))
    if rng.random() < 0.3:
        wrong = rng.choice(3)
        sizes = [classes, 16, 16]
        if wrong == 0:
            sizes[0] = int(rng.choice((0, -1, 257, *HUGE)))
        elif wrong == 1:
            sizes[1] = int(rng.choice((-1, -(2**40), HUGE[-1])))
        else:
            sizes[2], sizes[0] = HUGE[-1], 2
        block = Buffer((64,), np.uint8)
        given = (block.address, block.address, *sizes_of(*sizes))
        require_status(libraries.cpu.segnet_cpu_labels(*given), 1)
        return
    gap = int(rng.choice((0, 3)))
    planes = Planes(rng.integers(-3, 4, (classes, 1, size, 1)).astype(np.float32), gap)
    values = rng.integers(-3, 4, (classes, size)).astype(np.float32)
    planes.array[:, 0, :, 0] = values
    labels = filled(np.zeros(size, np.uint8))
    given = (planes.address, labels.address, *sizes_of(classes, size, planes.step))
    require_status(libraries.cpu.segnet_cpu_labels(*given), 0)
    require_equal("labels", labels.array, values.argmax(0).astype(np.uint8))
