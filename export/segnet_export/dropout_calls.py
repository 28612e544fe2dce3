"""Intercept the dropouts of a module, which PyTorch skips in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.sample_dropout import DROPOUT_DOMAIN

_ELEMENTS = (F.dropout, torch.dropout)
_CHANNELS = (F.dropout1d, F.dropout2d, F.dropout3d, torch.feature_dropout)
_OTHERS = (F.alpha_dropout, F.feature_alpha_dropout, torch.alpha_dropout)


class DropoutCalls(TorchFunctionMode):
    """Call `dropout(x, ratio, channels)` instead of every dropout with a ratio above 0.

    `channels`: whole channels are dropped (nn.Dropout2d). `count` is the number of calls. Raises
    UnsupportedModelError for an alpha dropout, which does not set the values to 0.
    """

    def __init__(self, dropout: Callable[[Tensor, float, bool], Tensor]):
        super().__init__()
        self.count = 0
        self._dropout = dropout

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _OTHERS:
            raise UnsupportedModelError(
                f"{func.__name__} does not drop to 0 and cannot be sampled; use nn.Dropout"
            )
        if func not in _ELEMENTS and func not in _CHANNELS:
            return func(*args, **(kwargs or {}))
        x, ratio = _arguments(*args, **(kwargs or {}))
        if not ratio > 0:
            return x
        self.count += 1
        return self._dropout(x, ratio, func in _CHANNELS)


def mark_dropouts() -> DropoutCalls:
    """Return a mode in which torch's exporter writes the dropouts as nodes for sample_dropout."""

    def mark(x: Tensor, ratio: float, channels: bool) -> Tensor:
        node: Tensor = torch.onnx.ops.symbolic(
            f"{DROPOUT_DOMAIN}::Dropout",
            [x],
            {"ratio": ratio, "channels": int(channels)},
            dtype=x.dtype,
            shape=x.shape,
            version=1,
        )
        return node

    return DropoutCalls(mark)


def apply_masks(masks: Sequence[Tensor]) -> DropoutCalls:
    """Return a mode in which dropout number n multiplies by masks[n], (N, C, H, W) of 0 and 1."""
    remaining = iter(masks)

    def apply(x: Tensor, ratio: float, channels: bool) -> Tensor:
        mask = next(remaining, None)  # the caller compares the counts
        return x if mask is None else x * (mask.to(x.dtype) * (1 / (1 - ratio)))

    return DropoutCalls(apply)


def _arguments(input: Tensor, p: float = 0.5, *_: Any, **__: Any) -> tuple[Tensor, float]:
    """Return the tensor and the ratio of a call; all of these functions name them alike."""
    return input, p
