"""The pools of PyTorch and of a file: which belong together, and where their indices differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segnet_deploy.accuracy.expose_indices import IndexedModel
from segnet_deploy.errors import ParityError
from segnet_deploy.types import Array
from segnet_export.parity.rounding import largest_difference
from segnet_export.pool_recorder import PoolCall


@dataclass(frozen=True)
class StageFlips:
    """The windows of one stage whose index differs between the file and PyTorch.

    `gap` is the largest difference between the values at both indices, as a share of the largest
    magnitude in the stage; `rounding` is PyTorch's own error of these values, as the same share, or
    0 if it was not measured.
    """

    count: int
    windows: int
    gap: float
    rounding: float = 0.0


@dataclass(frozen=True)
class Stages:
    """The stages of a file on one input: for each the numbers of PyTorch's calls, and its index.

    `misplaced` lists the stages, from 1, with an index outside its window.
    """

    calls: tuple[tuple[int, ...], ...]
    indices: tuple[Tensor, ...]
    misplaced: tuple[int, ...]

    @classmethod
    def read(
        cls, indexed: IndexedModel, outputs: dict[str, Array], calls: Sequence[PoolCall]
    ) -> Stages:
        """Match `calls` with the indices in a file's `outputs`.

        Raises ParityError if PyTorch uses the indices of another number of pools.
        """
        groups = _group(calls, len(indexed.stages))
        indices, misplaced = [], []
        for stage, group in enumerate(groups):
            call = calls[group[0]]
            height, width = call.source.shape[2:]
            index = torch.from_numpy(indexed.plane_index(stage, outputs, (height, width)))
            if len(index) == 1:  # computed once for all samples
                index = index.repeat(len(call.plane_index), 1, 1, 1)
            indices.append(index)
            if not _in_windows(index, call):
                misplaced.append(stage + 1)
        return cls(tuple(map(tuple, groups)), tuple(indices), tuple(misplaced))

    @property
    def replacements(self) -> dict[int, Tensor]:
        """The file's index by the number of PyTorch's call."""
        pairs = zip(self.calls, self.indices, strict=True)
        return {number: index for numbers, index in pairs for number in numbers}

    def flips(
        self, calls: Sequence[PoolCall], exact: Sequence[PoolCall] | None = None
    ) -> tuple[StageFlips, ...]:
        """Return the flips of each stage, from calls that returned the file's indices.

        `exact` are the same calls in float64.
        """
        numbers = [group[0] for group in self.calls]
        if exact is None:
            return tuple(_flips(calls[number]) for number in numbers)
        return tuple(_flips(calls[number], exact[number]) for number in numbers)


def _group(calls: Sequence[PoolCall], count: int) -> list[list[int]]:
    """Return the numbers of the unpooled calls by stage.

    torch's exporter merges equal calculations, so that calls with equal results, of an encoder
    that runs twice for example, are one stage. No more are merged than `count` requires.
    """
    used = [number for number, call in enumerate(calls) if call.unpooled]
    merges, groups = len(used) - count, list[list[int]]()
    for number in used:
        same = (group for group in groups if _are_equal(calls[group[0]], calls[number]))
        group = next(same, None) if merges > 0 else None
        if group is None:
            groups.append([number])
        else:
            group.append(number)
            merges -= 1
    if len(groups) != count:
        raise ParityError(
            f"PyTorch unpools the indices of {len(groups)} pools but the file has {count}"
        )
    return groups


def _are_equal(one: PoolCall, other: PoolCall) -> bool:
    return torch.equal(one.plane_index, other.plane_index) and torch.equal(one.source, other.source)


def _in_windows(index: Tensor, call: PoolCall) -> bool:
    """Return whether each index is in the plane and, if windows do not overlap, in its own."""
    if index.shape != call.plane_index.shape:
        return False
    height, width = call.source.shape[2:]
    row, column = index // width, index % width
    inside = (index >= 0) & (row < height)
    if call.kernel is not None:
        down, across = call.kernel
        rows = torch.arange(index.shape[2]).view(-1, 1)
        columns = torch.arange(index.shape[3])
        inside &= (row // down == rows) & (column // across == columns)
    return bool(inside.all())


def _flips(call: PoolCall, exact: PoolCall | None = None) -> StageFlips:
    """Compare the indices that a pool computed with those that it returned."""
    differs = call.used_index != call.plane_index
    count = int(differs.sum())
    if not count:
        return StageFlips(0, differs.numel(), 0.0)
    flat = call.source.flatten(2)
    maximum = flat.gather(2, call.plane_index.flatten(2))
    chosen = flat.gather(2, call.used_index.flatten(2))
    gap = float((maximum - chosen).abs().max())
    scale = float(call.source.abs().max())
    error = 0.0 if exact is None else largest_difference(call.source, exact.source)
    return StageFlips(count, differs.numel(), gap / (scale or 1), error / (scale or 1))
