"""Run a module once, and check that it can be exported, before torch's exporter runs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_export.module_outputs import name_tensors


def run_once(module: nn.Module, example: Tensor) -> dict[str, Tensor]:
    """Run `module` on `example`, (N, C, H, W) float32; return the tensors of its result by name.

    Raises InputError (unusable sizes or weights, or the module does not run).
    """
    _check_example(example)
    _check_weights(module)
    height, width = example.shape[2:]
    try:
        with torch.no_grad():
            return name_tensors(module(example))
    except Exception as error:  # a user's module raises anything; torch's unpooling a ValueError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the model does not run at {height}x{width}: {reason}; networks that unpool without "
            "output_size need multiples of 32: choose another --imgsz"
        ) from error


def count_classes(found: Mapping[str, Tensor], name: str, example: Tensor) -> int:
    """Return the number of classes of the label output `name`, one of the tensors in `found`.

    Raises UnsupportedModelError if it is not logits of the size of `example`.
    """
    out = found[name]
    height, width = example.shape[2:]
    expected = f"expected logits (N, classes, {height}, {width}) of 2 classes or more"
    if len(found) > 1:
        expected += f"; name the output with the logits first in --outputs: {', '.join(found)}"
    if out.dim() != 4 or out.shape[2:] != example.shape[2:]:
        raise UnsupportedModelError(
            f"the model returns {tuple(out.shape)} as '{name}' for an input of "
            f"{tuple(example.shape)}; {expected}"
        )
    if out.shape[1] < 2:
        raise UnsupportedModelError(
            f"the model returns {tuple(out.shape)} as '{name}', one class; {expected}"
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
