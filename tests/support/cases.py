"""The table of pool/unpool cases for every implementation: runtimes, plugins, references.

Odd sizes, channel counts around 16 (one word of window codes), batches, ties, -0, -inf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from segnet_deploy.types import Array


@dataclass(frozen=True)
class PoolCase:
    """An input (N, C, H, W) and a pooling geometry."""

    shape: tuple[int, int, int, int]
    ceil_mode: bool
    values: str

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{size}-{'ceil' if self.ceil_mode else 'floor'}-{self.values}"

    def make(self) -> Array:
        """Return the input, which is always the same."""
        rng = np.random.default_rng(sum(self.shape))
        x = rng.standard_normal(self.shape).astype(np.float32)
        if self.values == "ties":
            x = rng.integers(-1, 2, self.shape).astype(np.float32)
        elif self.values == "relu":
            x = np.maximum(x, 0)
        elif self.values == "constant":
            x = np.full(self.shape, -3.5, np.float32)
        elif self.values == "zeros":
            x = np.where(rng.random(self.shape) < 0.5, np.float32(-0.0), np.float32(0.0))
        elif self.values == "infinite":
            x[rng.random(self.shape) < 0.6] = -np.inf
            x[rng.random(self.shape) < 0.05] = np.inf
        return x


SHAPES = (
    (1, 1, 2, 2),
    (1, 1, 4, 6),
    (2, 3, 5, 7),
    (1, 11, 9, 6),
    (3, 16, 6, 9),
    (1, 17, 45, 3),
    (2, 33, 8, 10),
)
VALUES = ("random", "ties", "relu", "constant", "zeros", "infinite")
CASES = tuple(
    PoolCase(shape, ceil_mode, values)
    for shape in SHAPES
    for ceil_mode in (False, True)
    for values in VALUES
) + tuple(PoolCase((2, 2, 1, 1), True, values) for values in VALUES)


# Larger planes: rows and pixels that are accessed in every width, long ones, many channels.
LARGER = (
    (1, 16, 8, 64),
    (2, 33, 7, 96),
    (1, 40, 9, 20),
    (1, 64, 45, 60),
    (1, 11, 45, 61),
    (1, 12, 6, 24),
    (1, 3, 5, 4000),
    (1, 2000, 3, 5),
    (1, 20000, 2, 3),
)


def spread_over_int8(values: Array) -> Array:
    """Return float32 `values` scaled to the range of int8."""
    spread = np.nan_to_num(values * 20, posinf=127, neginf=-128)
    return np.clip(spread, -128, 127).astype(np.float32)


def as_type(values: Array, dtype: Any) -> Any:
    """Return `values` as float32, or scaled to the range of int8 or uint8."""
    if dtype == np.float32:
        return values
    shift = 128 if dtype == np.uint8 else 0
    return (np.trunc(spread_over_int8(values)) + shift).astype(dtype)


def pack_codes(codes: Any) -> Any:
    """Pack 2-bit codes (N, C, Ho, Wo) into int32 words (N, ceil(C/16), Ho, Wo)."""
    n, c, height, width = codes.shape
    words = np.zeros((n, -(-c // 16), height, width), np.uint32)
    for channel in range(c):
        words[:, channel // 16] |= codes[:, channel].astype(np.uint32) << (2 * (channel % 16))
    return words.view(np.int32)


def unpack_codes(words: Any, channels: int) -> Any:
    """Return the 2-bit codes (N, C, Ho, Wo) in int32 words (N, ceil(C/16), Ho, Wo)."""
    channel = np.arange(channels)
    bits = words[:, channel // 16].view(np.uint32) >> (2 * (channel % 16))[:, None, None]
    return bits & 3


def codes_from_index(plane_index: Any, width: int) -> Any:
    """Return the window codes of plane indices into planes of `width`."""
    row, column = np.divmod(plane_index, width)
    return 2 * (row % 2) + column % 2


def pool_reference(x: Array, ceil_mode: bool) -> tuple[Array, Any]:
    """Pool 2x2 in plain numpy: values and plane indices; the first maximum wins."""
    n, c, h, w = x.shape
    even_h, even_w = (h + h % 2, w + w % 2) if ceil_mode else (h - h % 2, w - w % 2)
    padded = np.full((n, c, even_h, even_w), -np.inf, np.float32)
    inside = x[:, :, :even_h, :even_w]
    padded[:, :, : inside.shape[2], : inside.shape[3]] = inside
    index = np.full((even_h, even_w), -1)
    known = np.arange(h * w).reshape(h, w)[:even_h, :even_w]
    index[: known.shape[0], : known.shape[1]] = known
    windows = np.stack([padded[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    positions = np.stack([index[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    code = windows.argmax(0)
    plane_index = np.take_along_axis(
        np.broadcast_to(positions[:, None, None], windows.shape), code[None], 0
    )[0]
    return windows.max(0), plane_index


def gather(x: Array, plane_index: Any) -> Array:
    """Return the elements of (N, C, H, W) at (N, C, Ho, Wo) plane indices."""
    n, c = x.shape[:2]
    flat = np.take_along_axis(x.reshape(n, c, -1), plane_index.reshape(n, c, -1), 2)
    return flat.reshape(plane_index.shape)


def unpool_reference(y: Array, plane_index: Any, size: tuple[int, int]) -> Array:
    """Write values into planes of `size` at `plane_index`, and zero elsewhere."""
    n, c = y.shape[:2]
    flat = np.zeros((n, c, size[0] * size[1]), np.float32)
    np.put_along_axis(flat, plane_index.reshape(n, c, -1), y.reshape(n, c, -1), 2)
    return flat.reshape(n, c, *size)
