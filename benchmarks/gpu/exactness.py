"""Are the kernels equal to the reference, bit for bit, in every layout, type, method and width?"""

from __future__ import annotations

import collections
import ctypes
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cases
import cuda_kernels
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gpu import window_rule
from gpu.exactness_cases import HUGE, KINDS, SMALL_HUGE, Case, Shape, all_cases
from gpu.libraries import Kernels, find_native, open_kernels
from gpu.place import Place
from gpu.record import Record
from gpu.window_rule import TYPES, as_bits

METHODS = ("runs", "pixels")
WIDEST = 16  # bytes of an access
GUARD = 256  # bytes before and after each tensor that must not change
POISON = 0x5A
SHOWN = 40  # failed cases that are listed


class Guarded:
    """A tensor between two guards, all of it poisoned; shifted by `offset` elements."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, offset: int, device: str):
        guard, count = GUARD // dtype.itemsize, int(np.prod(shape))
        size = (2 * guard + count + offset) * dtype.itemsize
        self._all = torch.full((size,), POISON, dtype=torch.uint8, device=device).view(dtype)
        self.tensor = self._all[guard + offset : guard + offset + count].view(shape)
        self._ends = (self._all[: guard + offset], self._all[guard + offset + count :])

    def untouched(self) -> bool:
        """Return whether both guards are as they were."""
        return all(bool((end.view(torch.uint8) == POISON).all()) for end in self._ends)


@dataclass(frozen=True)
class Checker:
    """Runs cases on a device. `paths` is the library that names the method of a call."""

    kernels: Kernels
    paths: ctypes.CDLL
    place: Place

    def check(self, case: Case) -> tuple[str, list[str]]:
        """Run pool and unpool; return the method and width that ran, and what differs."""
        device, layout = self.place.device, case.layout
        n, c, h, w = case.shape
        source = case.make().to(device)
        best, code = window_rule.pool(source, case.ceil_mode)
        rows, columns = best.shape[2:]
        pitch = -(-c // 8) * 8 if layout == "HWC8" else c
        full: tuple[int, ...] = (n, c, h, w) if layout == "NCHW" else (n, h, w, pitch)
        small = (n, c, rows, columns) if layout == "NCHW" else (n, rows, columns, pitch)
        dtype = TYPES[case.kind]
        x, y, back = (Guarded(shape, dtype, case.offset, device) for shape in (full, small, full))
        words = Guarded((n, -(-c // 16), rows, columns), torch.int32, 0, device)
        as_bits(x.tensor).copy_(window_rule.to_layout(as_bits(source), layout))
        pair = self.kernels.pair(case.kind, layout, case.shape, case.ceil_mode)
        at = [t.tensor.data_ptr() for t in (x, y, words, back)]
        pair.pool(at[0], at[1], at[2], self.place.stream)
        pair.unpool(at[1], at[2], at[3], self.place.stream)
        self.place.synchronize()
        expected = window_rule.unpool(best, code, h, w)
        wrong = [
            name
            for name, found, bits in (
                ("y", as_bits(y.tensor), window_rule.to_layout(best, layout)),
                ("codes", words.tensor, window_rule.pack(code)),
                ("x", as_bits(back.tensor), window_rule.to_layout(expected, layout)),
            )
            if not torch.equal(found, bits)
        ]
        if not all(guarded.untouched() for guarded in (x, y, words, back)):
            wrong.append("written outside of a tensor")
        return self.path(case, at), wrong

    def path(self, case: Case, at: list[int]) -> str:
        """Return what pools these tensors, such as `runs of 8`, or `none` if nothing does."""
        kind = cuda_kernels.KINDS.index(case.kind), cuda_kernels.LAYOUTS.index(case.layout)
        pointers = (ctypes.c_void_p(pointer) for pointer in (at[0], at[1], at[2]))
        sizes = map(ctypes.c_int64, case.shape)
        width = ctypes.c_int()
        rest = int(case.ceil_mode), ctypes.byref(width)
        found = self.paths.segnet_kernel_path(0, *kind, *pointers, *sizes, *rest)
        return f"{METHODS[found]} of {width.value}" if found >= 0 else "none"


def run(place: Place, record: Record) -> None:
    """Check the reference, then every case, then more than 2^31 elements."""
    kernels = open_kernels(place)
    paths, origin = find_native("paths", place)
    record.fact("libraries", [kernels.origin, f"{paths.name}, {origin}"])
    record.must("the reference equals PyTorch's pair", _reference_is_pytorchs())
    checker = Checker(kernels, ctypes.CDLL(str(paths)), place)
    seen = _check_cases(all_cases(place), checker, record)
    missing = sorted(all_paths() - seen)
    record.must("every method ran in every type and width", not missing, missing or None)
    if not place.dry:
        record.must("equal to PyTorch's pair on this GPU", _equals_gpu_pair(checker, record))
    _check_huge(place, checker, record)


def all_paths() -> set[tuple[str, str]]:
    """Return every element type with every method and width of accesses."""
    return {
        (kind, f"{method} of {1 << power}")
        for kind in KINDS
        for method in METHODS
        for power in range((WIDEST // TYPES[kind].itemsize).bit_length())
    }


def _check_cases(cases_: Iterable[Case], checker: Checker, record: Record) -> set[tuple[str, str]]:
    """Check all cases; add rows for each type and layout. Return the types and methods seen."""
    seen, failures, total = set(), 0, 0
    for (kind, layout), group in itertools.groupby(cases_, lambda case: (case.kind, case.layout)):
        counts: collections.Counter[str] = collections.Counter()
        for case in group:
            path, wrong = checker.check(case)
            counts[path] += 1
            seen.add((kind, path))
            if wrong:
                failures += 1
                if failures <= SHOWN:
                    record.row("wrong", case=str(case), path=path, differs=wrong)
        total += sum(counts.values())
        record.row("cases", type=kind, layout=layout, methods=dict(counts), wrong_so_far=failures)
    record.must("every case is exact", failures == 0, f"{total} cases")
    return seen


def _reference_is_pytorchs() -> bool:
    """Compare the reference with F.max_pool2d and F.max_unpool2d on the CPU, over the table."""
    for case in cases.CASES:
        x, size = torch.from_numpy(case.make()), list(case.shape[2:])
        y, index = F.max_pool2d(x, 2, 2, ceil_mode=case.ceil_mode, return_indices=True)
        back = F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=size)
        best, code = window_rule.pool(x, case.ceil_mode)
        found = window_rule.unpool(best, code, *size)
        codes = cases.codes_from_index(index.numpy(), case.shape[3])
        same = (
            torch.equal(best, as_bits(y)),
            torch.equal(found, as_bits(back)),
            np.array_equal(code.numpy(), codes),
            np.array_equal(window_rule.pack(code).numpy(), cases.pack_codes(codes)),
        )
        if not all(same):
            return False
    return True


def _equals_gpu_pair(checker: Checker, record: Record) -> bool:
    """Compare the reference with PyTorch's own pair on the GPU, with NaN, at a plane of SegNet."""
    x = torch.randn(2, 64, 45, 61, device=checker.place.device)
    x[torch.rand_like(x) < 0.1] = float("nan")
    x[torch.rand_like(x) < 0.3] = 0.5
    same = True
    for kind in ("fp32", "fp16", "bf16"):
        values = x.to(TYPES[kind])
        try:
            y, index = F.max_pool2d(values, 2, 2, ceil_mode=True, return_indices=True)
            back = F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=[45, 61])
        except NotImplementedError as error:  # some releases have no unpooling of bf16 on CUDA
            record.row("pytorch on the GPU", type=kind, error=str(error)[:300])
            continue
        best, code = window_rule.pool(values, True)
        found = window_rule.unpool(best, code, 45, 61).view(values.dtype)
        equal = _same_values(best.view(values.dtype), y) and _same_values(found, back)
        record.row("pytorch on the GPU", type=kind, equal=equal)
        same &= equal
    return same


def _same_values(a: Tensor, b: Tensor) -> bool:
    """Return whether all values are equal or both NaN: PyTorch converts a NaN's payload."""
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def _check_huge(place: Place, checker: Checker, record: Record) -> None:
    """Compare tensors of more than 2^31 elements, some channels at a time."""
    for kind, layout, shape in place.sized(HUGE, SMALL_HUGE):
        path, wrong = _compare_huge(checker, kind, layout, shape)
        size = "x".join(map(str, shape))
        record.row("huge", type=kind, layout=layout, shape=list(shape), path=path, differs=wrong)
        elements = int(np.prod(shape))
        record.must(f"{kind} {layout} {size} ({path}) is exact", not wrong, f"{elements} elements")
        place.reset_peak()


def _compare_huge(checker: Checker, kind: str, layout: str, shape: Shape) -> tuple[str, list[str]]:
    n, c, h, w = shape
    place, dtype = checker.place, TYPES[kind]
    rows, columns = window_rule.pooled_size(h, w, True)
    bits = window_rule.BITS[dtype.itemsize]
    last = layout != "NCHW"
    full, small = ((n, h, w, c), (n, rows, columns, c)) if last else (shape, (n, c, rows, columns))
    x, back = (torch.empty(full, dtype=bits, device=place.device) for _ in range(2))
    limits = torch.iinfo(bits)
    x.random_(limits.min, limits.max)
    y = torch.empty(small, dtype=bits, device=place.device)
    words = torch.empty((n, -(-c // 16), rows, columns), dtype=torch.int32, device=place.device)
    pair = checker.kernels.pair(kind, layout, shape, True)
    at = [t.data_ptr() for t in (x, y, words, back)]
    pair.pool(at[0], at[1], at[2], place.stream)
    pair.unpool(at[1], at[2], at[3], place.stream)
    place.synchronize()
    wrong = set()
    for first in range(0, c, 16):
        for name, found, expected in _channels(x, y, words, back, first, last, dtype):
            if not torch.equal(found, expected):
                wrong.add(name)
    case = Case("huge", kind, layout, shape, True, lambda: x)
    return checker.path(case, at), sorted(wrong)


def _channels(
    x: Tensor, y: Tensor, words: Tensor, back: Tensor, first: int, last: bool, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, result and reference of the 16 channels of one code word, in NCHW."""
    x, y, back = (
        (t[..., first : first + 16].permute(0, 3, 1, 2) if last else t[:, first : first + 16])
        for t in (x, y, back)
    )
    best, code = window_rule.pool(x.contiguous().view(dtype), True)
    yield "y", y.contiguous(), best
    yield "codes", words[:, first // 16 : first // 16 + 1].contiguous(), window_rule.pack(code)
    yield "x", back.contiguous(), window_rule.unpool(best, code, x.shape[2], x.shape[3])
