"""PyTorch's rule for 2x2 max pooling and its inverse, on bit patterns: the check's reference.

Written with slices and comparisons alone. The values are compared as float32, which holds every
element type exactly; what is moved are bits, so that -0 and the payload of a NaN are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.int8,
}
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32}
CHANNELS_PER_WORD = 16


def as_bits(x: Tensor) -> Tensor:
    """Return the elements' bits as integers of the same size; no copy."""
    return x.view(BITS[x.element_size()])


def pooled_size(h: int, w: int, ceil_mode: bool) -> tuple[int, int]:
    """Return the height and width of the pooled plane."""
    return ((h + 1) // 2, (w + 1) // 2) if ceil_mode else (h // 2, w // 2)


def pool(x: Tensor, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    """Return the bits of the maxima, (N, C, Ho, Wo), and their uint8 window codes.

    `x` is (N, C, H, W). A later element replaces an earlier one if it is larger or NaN.
    """
    h, w = x.shape[2:]
    rows, columns = pooled_size(h, w, ceil_mode)
    odd = (0, w % 2, 0, h % 2) if ceil_mode else (0, 0, 0, 0)
    bits, values = F.pad(as_bits(x), odd), F.pad(x.float(), odd)

    def corner(of: Tensor, element: int) -> Tensor:
        i, j = divmod(element, 2)
        return of[:, :, i : 2 * rows : 2, j : 2 * columns : 2]

    best, value = corner(bits, 0), corner(values, 0)
    code = torch.zeros(best.shape, dtype=torch.uint8, device=x.device)
    for element in (1, 2, 3):
        other = corner(values, element)
        wins = (other > value) | other.isnan()
        if ceil_mode and h % 2 and element // 2:
            wins[:, :, -1:] = False
        if ceil_mode and w % 2 and element % 2:
            wins[:, :, :, -1:] = False
        best = torch.where(wins, corner(bits, element), best)
        value = torch.where(wins, other, value)
        code = torch.where(wins, element, code)
    return best, code


def unpool(best: Tensor, code: Tensor, h: int, w: int) -> Tensor:
    """Return the bits of the (N, C, h, w) planes: the maxima where they were, and +0 elsewhere."""
    n, c, rows, columns = best.shape
    full = torch.zeros(
        (n, c, (h + 1) // 2 * 2, (w + 1) // 2 * 2), dtype=best.dtype, device=best.device
    )
    for element in range(4):
        i, j = divmod(element, 2)
        full[:, :, i : 2 * rows : 2, j : 2 * columns : 2] = torch.where(code == element, best, 0)
    return full[:, :, :h, :w]


def pack(code: Tensor) -> Tensor:
    """Pack codes (N, C, Ho, Wo) into int32 words (N, ceil(C/16), Ho, Wo)."""
    n, c, rows, columns = code.shape
    words = -(-c // CHANNELS_PER_WORD)
    padded = F.pad(code, (0, 0, 0, 0, 0, words * CHANNELS_PER_WORD - c))
    lanes = padded.reshape(n, words, CHANNELS_PER_WORD, rows, columns)
    packed = torch.zeros((n, words, rows, columns), dtype=torch.int64, device=code.device)
    for lane in range(CHANNELS_PER_WORD):
        packed |= lanes[:, :, lane].to(torch.int64) << (2 * lane)
    return torch.where(packed >= 1 << 31, packed - (1 << 32), packed).to(torch.int32)


def to_layout(x: Tensor, layout: str) -> Tensor:
    """Return (N, C, H, W) elements in the memory order of a layout, padded with zeros (HWC8)."""
    if layout == "NCHW":
        return x.contiguous()
    moved = x.permute(0, 2, 3, 1)
    if layout == "HWC8":
        moved = F.pad(moved, (0, -x.shape[1] % 8))
    return moved.contiguous()
