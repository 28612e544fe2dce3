"""Optimisation profiles: the least, usual and largest shape of what is dynamic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segnet_deploy.errors import UsageError
from segnet_deploy.tensorrt_build.request import Shape

Sizes = tuple[tuple[int, int], ...]  # (height, width), least, usual and largest


def profile(
    name: str,
    shape: tuple[int | None, ...],
    batch: tuple[int, ...] | None = None,
    sizes: Sizes | None = None,
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Return the optimisation profile of what is dynamic in `shape`. Raises UsageError."""
    dynamic = [axis for axis in range(1, len(shape)) if shape[axis] is None]
    if batch is not None and shape and shape[0] is not None:
        raise UsageError(f"--batch {batch}, but the file has a fixed batch of {shape[0]}")
    if sizes is not None and not dynamic:
        raise UsageError(f"--size {_sizes(sizes)}, but the file has the fixed size {shape[1:]}")
    if dynamic and (sizes is None or len(dynamic) != 2):
        raise UsageError(
            f"the file has dynamic sizes {shape}; give --size MIN OPT MAX, each as HEIGHTxWIDTH"
        )
    if shape and shape[0] is not None and not dynamic:
        return {}
    batches = (batch or (1, 1, 1)) if shape[0] is None else (shape[0],) * 3
    if not 1 <= batches[0] <= batches[1] <= batches[2]:
        raise UsageError(f"--batch {' '.join(map(str, batches))}; expected 1 <= MIN <= OPT <= MAX")
    planes = sizes or ((0, 0),) * 3
    for side in zip(*planes, strict=True):
        if sizes is not None and not 1 <= side[0] <= side[1] <= side[2]:
            raise UsageError(f"--size {_sizes(planes)}; expected 1x1 <= MIN <= OPT <= MAX")
    least, usual, largest = (
        tuple(
            batches[i] if axis == 0 else planes[i][dynamic.index(axis)] if size is None else size
            for axis, size in enumerate(shape)
        )
        for i in range(3)
    )
    return {name: (least, usual, largest)}


def _sizes(sizes: Sizes) -> str:
    return " ".join(f"{height}x{width}" for height, width in sizes)


def ranges(profiles: Mapping[str, Any], io: str) -> tuple[tuple[int, ...] | None, Sizes | None]:
    """Return the batches and sizes of stored profiles, None for what is fixed.

    `io` is tensor (N, 3, H, W) or frame (N, H, W, 3). Raises ValueError or TypeError where they
    are no profiles.
    """
    for shapes in profiles.values():
        least, usual, largest = (tuple(int(size) for size in shape) for shape in shapes)
        first = 1 if io == "frame" else 2
        planes = tuple((s[first], s[first + 1]) for s in (least, usual, largest) if len(s) == 4)
        if len(planes) != 3:
            raise ValueError(f"shapes of {len(least)} dimensions")
        batches = (least[0], usual[0], largest[0])
        return (
            batches if len(set(batches)) > 1 else None,
            planes if len(set(planes)) > 1 else None,
        )
    return None, None
