"""Check that a module can be exported, before torch's exporter runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segnet_deploy.errors import InputError, UnsupportedModelError


def check_module(module: nn.Module, example: Tensor) -> int:
    """Run `module` once on `example`, (N, C, H, W) float32; return its number of classes.

    Raises InputError (unusable sizes or weights, or the module does not run) or
    UnsupportedModelError (the output is not logits of the input's size).
    """
    _check_example(example)
    _check_weights(module)
    height, width = example.shape[2:]
    try:
        with torch.no_grad():
            out = module(example)
    except Exception as error:  # a user's module raises anything; torch's unpooling a ValueError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the model does not run at {height}x{width}: {reason}; networks that unpool without "
            "output_size need multiples of 32: choose another --imgsz"
        ) from error
    expected = f"expected logits (N, classes, {height}, {width})"
    if not isinstance(out, Tensor) or out.dim() != 4 or out.shape[2:] != example.shape[2:]:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise UnsupportedModelError(
            f"the model returns {shape} for an input of {tuple(example.shape)}; {expected}"
        )
    if out.shape[1] < 2:
        raise UnsupportedModelError(
            f"the model returns {tuple(out.shape)}, one class; {expected} of 2 classes or more"
        )
    return int(out.shape[1])


def _check_example(example: Tensor) -> None:
    if example.dim() != 4 or example.dtype != torch.float32 or min(example.shape) < 1:
        raise InputError(
            f"example is {tuple(example.shape)} {example.dtype}; expected (N, C, H, W) float32"
        )
    height, width = example.shape[2:]
    if min(height, width) < 2:
        raise InputError(f"size {height}x{width}; a 2x2 pooling window needs 2 px or more")


def _check_weights(module: nn.Module) -> None:
    state = module.state_dict()
    invalid = [name for name, value in state.items() if not torch.isfinite(value.float()).all()]
    if invalid:
        raise InputError(
            f"{len(invalid)} weights contain NaN or infinity ({invalid[0]}); use another checkpoint"
        )
