"""The dynamic shapes that a built engine accepts, as its sidecar records them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segnet_deploy.types import Size

Shape = tuple[int, ...]
Batches = tuple[int, ...]
"""Minimum, optimum and maximum batch."""
Sizes = tuple[Size, ...]
"""Minimum, optimum and maximum (height, width)."""


def read_ranges(profiles: Mapping[str, Any], io: str) -> tuple[Batches | None, Sizes | None]:
    """Return the batches and sizes of stored profiles; None for what is static.

    `io` is tensor (N, 3, H, W) or frame (N, H, W, 3). Raises ValueError or TypeError if
    `profiles` is malformed.
    """
    for shapes in profiles.values():
        minimum, optimum, maximum = (tuple(int(size) for size in shape) for shape in shapes)
        height = 1 if io == "frame" else 2
        sizes = tuple(
            (shape[height], shape[height + 1])
            for shape in (minimum, optimum, maximum)
            if len(shape) == 4
        )
        if len(sizes) != 3:
            raise ValueError(f"shapes of {len(minimum)} dimensions")
        batches = (minimum[0], optimum[0], maximum[0])
        return (
            batches if len(set(batches)) > 1 else None,
            sizes if len(set(sizes)) > 1 else None,
        )
    return None, None
