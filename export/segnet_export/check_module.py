"""Check the example, the weights and the outputs of a module before torch's exporter runs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segnet_deploy.errors import InputError, UnsupportedModelError


def check_inputs(module: nn.Module, example: Tensor) -> None:
    """Raise InputError unless `example` is (N, C, H, W) float32 and every weight is finite."""
    if example.dim() != 4 or example.dtype != torch.float32 or min(example.shape) < 1:
        raise InputError(
            f"example is {tuple(example.shape)} {example.dtype}; expected (N, C, H, W) float32"
        )
    height, width = example.shape[2:]
    if min(height, width) < 2:
        raise InputError(f"size {height}x{width}; a 2x2 pooling window needs 2 px or more")
    state = module.state_dict()
    invalid = [name for name, value in state.items() if not torch.isfinite(value.float()).all()]
    if invalid:
        raise InputError(
            f"{len(invalid)} weights contain NaN or infinity ({invalid[0]}); use another checkpoint"
        )


def count_channels(found: Mapping[str, Tensor], name: str, example: Tensor) -> int:
    """Return the number of channels of the label output `name`, one of the tensors in `found`.

    Raises UnsupportedModelError if it is not logits of the size of `example`.
    """
    out = found[name]
    height, width = example.shape[2:]
    expected = f"expected logits (N, classes, {height}, {width})"
    if len(found) > 1:
        expected += f"; name the output with the logits first in --outputs: {', '.join(found)}"
    if out.dim() != 4 or out.shape[2:] != example.shape[2:]:
        raise UnsupportedModelError(
            f"the model returns {tuple(out.shape)} as '{name}' for an input of "
            f"{tuple(example.shape)}; {expected}"
        )
    return int(out.shape[1])
