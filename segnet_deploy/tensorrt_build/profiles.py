"""Optimisation profiles: the minimum, optimum and maximum shape of a dynamic input."""

from __future__ import annotations

from segnet_deploy.errors import UnsupportedModelError, UsageError
from segnet_deploy.runtimes.tensorrt.shape_ranges import Batches, Shape, Sizes


def profile(
    name: str,
    shape: tuple[int | None, ...],
    batch: Batches | None = None,
    sizes: Sizes | None = None,
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Return the optimisation profile of what is dynamic in `shape`.

    Raises UsageError, or UnsupportedModelError if `shape` does not have four axes.
    """
    if len(shape) != 4:
        raise UnsupportedModelError(
            f"the input '{name}' has {len(shape)} axes; expected one image (N, C, H, W)"
        )
    dynamic = [axis for axis in range(1, len(shape)) if shape[axis] is None]
    if batch is not None and shape[0] is not None:
        raise UsageError(f"--batch-range {batch}, but the file has a fixed batch of {shape[0]}")
    if sizes is not None and not dynamic:
        raise UsageError(
            f"--size-range {_sizes(sizes)}, but the file has the fixed size {shape[1:]}"
        )
    if dynamic and (sizes is None or len(dynamic) != 2):
        raise UsageError(
            f"the file has dynamic sizes {shape}; give --size-range MIN OPT MAX, each as HxW"
        )
    if shape[0] is not None and not dynamic:
        return {}
    batches = (batch or (1, 1, 1)) if shape[0] is None else (shape[0],) * 3
    if not 1 <= batches[0] <= batches[1] <= batches[2]:
        raise UsageError(
            f"--batch-range {' '.join(map(str, batches))}; expected 1 <= MIN <= OPT <= MAX"
        )
    planes = sizes or ((0, 0),) * 3
    for side in zip(*planes, strict=True):
        if sizes is not None and not 1 <= side[0] <= side[1] <= side[2]:
            raise UsageError(f"--size-range {_sizes(planes)}; expected 1x1 <= MIN <= OPT <= MAX")
    minimum, optimum, maximum = (
        tuple(
            batches[i] if axis == 0 else planes[i][dynamic.index(axis)] if size is None else size
            for axis, size in enumerate(shape)
        )
        for i in range(3)
    )
    return {name: (minimum, optimum, maximum)}


def _sizes(sizes: Sizes) -> str:
    return " ".join(f"{height}x{width}" for height, width in sizes)
