"""How much PyTorch's own float32 rounding changes a network's outputs.

In some networks, such as masks by sigmoids of large sums that multiply one another, rounding grows
from layer to layer. Two correct float32 programs then differ by more than a fixed limit allows, and
only the float64 result tells which difference is an error.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segnet_export.pool_recorder import PoolCall, run_recorded


@dataclass(frozen=True)
class Exact:
    """The outputs and the calls of pools in float64."""

    outputs: tuple[Tensor, ...]
    calls: list[PoolCall]


def run_in_double(module: nn.Module, x: Tensor, replacements: Mapping[int, Tensor]) -> Exact | None:
    """Run a float64 copy of `module` on `x`, its pools returning `replacements` as run_recorded.

    Returns None if the module does not run in float64.
    """
    try:
        outputs, calls = run_recorded(copy.deepcopy(module).double(), x.double(), replacements)
    except Exception:  # a user's module raises anything
        return None
    return Exact(outputs, calls) if all(o.dtype == torch.float64 for o in outputs) else None


def largest_difference(a: Tensor, b: Tensor) -> float:
    """Return the largest absolute difference; infinity for different shapes, NaN if one is NaN."""
    return float((a.double() - b.double()).abs().max()) if a.shape == b.shape else torch.inf
