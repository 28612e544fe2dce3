"""A module with one output channel as PyTorch computes the two classes of its file.

The gate compares this with the file, whose graph segnet_deploy.passes.to_two_classes writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.to_two_classes import (
    LOGITS,
    PROBABILITIES,
    PROBABILITY,
    THRESHOLD,
)
from segnet_export.module_outputs import NamedOutputs, name_tensors

_ALIKE = {  # operators whose results are probabilities if their inputs are
    *("view", "_unsafe_view", "reshape", "slice", "select", "squeeze", "unsqueeze", "permute"),
    *("transpose", "expand", "clone", "detach", "alias", "_to_copy", "constant_pad_nd", "clamp"),
    *("upsample_bilinear2d", "upsample_nearest2d", "avg_pool2d", "split", "cat"),
}


def find_binary(module: nn.Module, example: Tensor, name: str) -> str:
    """Return what the one channel of the output `name` holds: 'logits' or 'probabilities'.

    Probabilities come from a sigmoid. Raises UnsupportedModelError for other values that are
    between 0 and 1 on noise, since their threshold is not known.
    """
    noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0)) * 64
    with torch.no_grad(), _Sigmoids() as sigmoids:
        out = name_tensors(module(noise))[name]
    if sigmoids.has(out):
        return PROBABILITIES
    smallest, largest = float(out.min()), float(out.max())
    if smallest >= 0 and largest <= 1:
        raise UnsupportedModelError(
            f"the model returns one channel '{name}' between {smallest:.3g} and {largest:.3g} that "
            "is not the result of a sigmoid; return logits or their sigmoid, or two channels"
        )
    return LOGITS


class BinaryOutputs(NamedOutputs):
    """Call a module and return its tensors `names`, the first of which has one channel.

    `kind`, from find_binary, is what it holds. The first result is (N, 2, H, W), whose larger
    channel is the label; the last, called `probability`, is that of class 1, (N, 1, H, W).
    """

    def __init__(self, module: nn.Module, names: Sequence[str], kind: str):
        added = PROBABILITY
        while added in names:
            added += "_output"
        super().__init__(module, (*names, added))
        self.kind = kind

    @property
    def note(self) -> str:
        """What the user should know about the classes."""
        limit = "0" if self.kind == LOGITS else f"{THRESHOLD}"
        return (
            f"one output channel with {self.kind}: class 1 where it is over {limit}, else class 0; "
            f"the output '{self.names[-1]}' is the probability of class 1"
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found = name_tensors(self.module(x))
        value = found[self.names[0]]
        others = [found[name] for name in self.names[1:-1]]
        if self.kind == PROBABILITIES:
            return torch.cat([value * -1.0 + 1.0, value], 1), *others, value
        return torch.cat([value * -0.5, value * 0.5], 1), *others, value.sigmoid()


class _Sigmoids(TorchDispatchMode):
    """Record the results of sigmoids, and what only moves or averages them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self._found: list[Tensor] = []  # kept, so that no other tensor gets their ids

    def has(self, tensor: Any) -> bool:
        """Return whether `tensor` is one of them."""
        return any(tensor is found for found in self._found)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        first = args[0] if args else None
        inputs = first if isinstance(first, (tuple, list)) else [first]
        if name in ("sigmoid", "hardsigmoid") or (name in _ALIKE and all(map(self.has, inputs))):
            self._found += out if isinstance(out, (tuple, list)) else [out]
        return out
