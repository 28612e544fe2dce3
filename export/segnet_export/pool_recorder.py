"""Watch a PyTorch model's pools: what they read, which index they chose, and swap it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_POOL = torch.ops.aten.max_pool2d_with_indices.default
_UNPOOL = torch.ops.aten.max_unpool2d.default


@dataclass
class PoolCall:
    """One call of a pool: its input (N, C, H, W) and its plane indices (N, C, Ho, Wo)."""

    source: Tensor
    plane_index: Tensor
    handed_on: Tensor
    unpooled: bool = False


@dataclass
class PoolWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Record pools; hand on `replacements[call number]` in place of a pool's indices."""

    replacements: Mapping[int, Tensor] = field(default_factory=dict)
    calls: list[PoolCall] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is _POOL:
            value, plane_index = out
            handed_on = self.replacements.get(len(self.calls), plane_index)
            self.calls.append(PoolCall(args[0], plane_index, handed_on))
            return value, handed_on
        if func is _UNPOOL:
            for call in self.calls:
                if call.handed_on.data_ptr() == args[1].data_ptr():
                    call.unpooled = True
        return out


@torch.no_grad()
def run_watched(
    module: nn.Module, x: Tensor, replacements: Mapping[int, Tensor] | None = None
) -> tuple[Tensor, list[PoolCall]]:
    """Run `module` on `x`; return its output and all calls of its pools."""
    watch = PoolWatch(replacements or {})
    with watch:
        output = module(x)
    return output, watch.calls
