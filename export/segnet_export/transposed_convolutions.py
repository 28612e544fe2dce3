"""Transposed convolutions of dynamic size, in a form that ONNX can express.

With `output_size` their output padding depends on the size of the image, but ONNX has it as a
constant. A larger padding adds rows and columns at the end and changes no others, so that the
largest padding and a crop give the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DEFAULTS: dict[str, Any] = {"bias": None, "stride": 1, "padding": 0, "output_padding": 0}
_DEFAULTS |= {"groups": 1, "dilation": 1}
_NAMES = ("input", "weight", *_DEFAULTS)


class CroppedTransposedConvolutions(TorchFunctionMode):
    """Let each conv_transpose2d whose output padding is symbolic pad by the most, and crop."""

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv_transpose2d:
            values = _DEFAULTS | dict(zip(_NAMES, args, strict=False)) | (kwargs or {})
            if any(not isinstance(size, int) for size in _two(values["output_padding"])):
                return _crop(values)
        return func(*args, **(kwargs or {}))


def _crop(values: dict[str, Any]) -> Tensor:
    stride, padding, dilation = (_two(values[n]) for n in ("stride", "padding", "dilation"))
    wanted = _two(values["output_padding"])
    largest = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
    x: Tensor = torch.conv_transpose2d(**(values | {"output_padding": largest}))
    for axis in (0, 1):
        kernel, before = values["weight"].shape[2 + axis], values["input"].shape[2 + axis]
        size = (before - 1) * stride[axis] - 2 * padding[axis] + wanted[axis]
        x = x.narrow(2 + axis, 0, size + dilation[axis] * (kernel - 1) + 1)
    return x


def _two(value: Any) -> list[Any]:
    items = list(value) if isinstance(value, (tuple, list)) else [value]
    return items * 2 if len(items) == 1 else items
