"""The cases of the exactness part: the table of all implementations, and what needs a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cases
import cuda_kernels
import numpy as np
import torch
from torch import Tensor

from gpu.place import Place
from gpu.window_rule import TYPES
from segnet_deploy.types import Array

Shape = tuple[int, int, int, int]
# The element types with the most doubt first.
KINDS = ("int8", "fp16", "bf16", "fp32")
ALIGNED, OFFSET = 0, 1  # elements by which the tensors are shifted
# SegNet's planes at 360x480, cut to few rows where a case is about the width.
AWKWARD: tuple[Shape, ...] = (
    *((n, c, h, w) for n, c, h, w in cases.LARGER),
    (2, 64, 18, 480),
    (1, 128, 9, 240),
    (1, 256, 45, 60),
    (8, 512, 23, 30),
    (1, 17, 33, 31),
    (1, 1, 1, 64),
    (2, 64, 5, 7),
    (3, 16, 64, 1),
    (1, 4100, 4, 6),
)
MANY_PLANES: tuple[Shape, ...] = ((70_000, 1, 3, 2), (4096, 17, 3, 5), (1, 70_000, 2, 4))
# More than 2^31 elements, fewer than 2^29 positions of code words: narrow and wide runs, pixels.
HUGE: tuple[tuple[str, str, Shape], ...] = (
    ("int8", "NCHW", (1, 64, 5801, 6003)),
    ("fp16", "NCHW", (1, 64, 5793, 5824)),
    ("fp16", "NHWC", (1, 64, 5793, 5801)),
)
SMALL_HUGE: tuple[tuple[str, str, Shape], ...] = (
    ("int8", "NCHW", (1, 64, 9, 11)),
    ("fp16", "NCHW", (1, 64, 9, 32)),
    ("fp16", "NHWC", (1, 64, 9, 11)),
)


@dataclass(frozen=True)
class Case:
    """An input and how it is stored. `make` returns (N, C, H, W) elements on the CPU."""

    name: str
    kind: str
    layout: str
    shape: Shape
    ceil_mode: bool
    make: Callable[[], Tensor]
    offset: int = ALIGNED

    def __str__(self) -> str:
        size, mode = "x".join(map(str, self.shape)), "ceil" if self.ceil_mode else "floor"
        return f"{self.kind} {self.layout} {size} {mode} {self.name} offset {self.offset}"


def all_cases(place: Place) -> Iterator[Case]:
    """Yield every case but the huge ones, int8 first."""
    awkward = place.sized(AWKWARD, tuple(s for s in AWKWARD if np.prod(s) < 50_000))
    many = place.sized(MANY_PLANES, ((700, 1, 3, 2),))
    table = place.sized(cases.CASES, cases.CASES[::5])
    for kind in KINDS:
        for layout in cuda_kernels.LAYOUTS:
            for case in table:
                for offset in (ALIGNED, OFFSET):
                    make = _maker(case.make, kind)
                    yield Case(case.values, kind, layout, case.shape, case.ceil_mode, make, offset)
            for shape in (*awkward, *many):
                for ceil_mode in (False, True):
                    yield Case("bits", kind, layout, shape, ceil_mode, _random_bits(kind, shape))
    for kind in ("fp16", "bf16"):  # every bit pattern, each next to others
        shape = (1, 1, 128, 512)
        yield Case("all", kind, "NCHW", shape, False, _all_halves(kind))


def _maker(values: Callable[[], Array], kind: str) -> Callable[[], Tensor]:
    def make() -> Tensor:
        found = values()
        if kind == "int8":
            found = cases.spread_over_int8(found)
        return torch.from_numpy(np.ascontiguousarray(found)).to(TYPES[kind])

    return make


def _random_bits(kind: str, shape: Shape) -> Callable[[], Tensor]:
    """Return a maker of random bit patterns, a third of them repeated: NaN, ties, denormals."""

    def make() -> Tensor:
        rng = np.random.default_rng(sum(shape))
        size = TYPES[kind].itemsize
        bits = rng.integers(0, 256, (*shape, size), np.uint8)
        bits[rng.random(shape) < 0.3] = rng.integers(0, 256, size, np.uint8)
        return torch.from_numpy(bits).view(TYPES[kind])[..., 0]

    return make


def _all_halves(kind: str) -> Callable[[], Tensor]:
    def make() -> Tensor:
        bits = np.random.default_rng(0).permutation(65536).astype(np.uint16).view(np.int16)
        return torch.from_numpy(bits.reshape(1, 1, 128, 512)).view(TYPES[kind])

    return make
