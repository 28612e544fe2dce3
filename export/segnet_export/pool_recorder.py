"""Record a PyTorch model's max-pooling calls, and replace the indices that they return."""

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
    """One call of a pool.

    `source` is its input, (N, C, H, W) float32. `plane_index` holds the indices that it computed
    and `used_index` those that it returned, both (N, C, Ho, Wo) int64. `kernel` is the (height,
    width) of windows that lie side by side, else None. `unpooled`: an unpooling used the indices.
    """

    source: Tensor
    plane_index: Tensor
    used_index: Tensor
    kernel: tuple[int, int] | None = None
    unpooled: bool = False


@dataclass
class PoolRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Record pools; `replacements` maps the number of a call to the indices that it returns."""

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
            used_index = self.replacements.get(len(self.calls), plane_index)
            self.calls.append(PoolCall(args[0], plane_index, used_index, _side_by_side(*args[1:])))
            return value, used_index
        if func is _UNPOOL:
            for call in self.calls:
                if call.used_index.data_ptr() == args[1].data_ptr():
                    call.unpooled = True
        return out


def _side_by_side(
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[int, int] | None:
    """Return the (height, width) of a pool's windows if they neither overlap nor are padded."""
    sizes, steps = list(kernel), list(stride) or list(kernel)
    if sizes * (3 - len(sizes)) != steps * (3 - len(steps)) or any(padding) or max(dilation) > 1:
        return None
    return sizes[0], sizes[-1]


@torch.no_grad()
def run_recorded(
    module: nn.Module, x: Tensor, replacements: Mapping[int, Tensor] | None = None
) -> tuple[tuple[Tensor, ...], list[PoolCall]]:
    """Run `module` on `x`; return its outputs and every call of a pool, in execution order.

    The module returns a tensor or a tuple of tensors. `replacements` maps the number of a call,
    from 0, to the indices that the pool returns instead.
    """
    recorder = PoolRecorder(replacements or {})
    with recorder:
        output = module(x)
    return output if isinstance(output, tuple) else (output,), recorder.calls
