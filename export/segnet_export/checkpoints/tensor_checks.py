"""One check of every tensor of a network, before anything is built from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segnet_deploy.errors import InputError
from segnet_export.checkpoints.stored_tensors import SpecialTensor

_ADVICE = "save model.state_dict() of the float network on the CPU"
_NUMBERS = ("weight", "bias", "running_mean", "running_var")  # must not be integers


def check_tensors(path: str | os.PathLike[str], values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors, those of floating point as float32.

    Raises InputError, which names the tensor, unless all are dense, and those of floating point
    finite and not empty.
    """
    return {name: _check(path, name, value) for name, value in values.items()}


def _check(path: str | os.PathLike[str], name: str, value: Any) -> Tensor:
    if not name.isprintable():
        raise InputError(f"{path} has a tensor named {name[:80]!r}; the file is damaged")
    what = f"{path}: '{name}' is "
    if not isinstance(value, Tensor):
        kind = value.kind + " tensor" if isinstance(value, SpecialTensor) else value.type_name
        raise InputError(f"{what}a {kind}; expected a dense tensor; {_ADVICE}")
    special = _special_kind(value)
    if special:
        raise InputError(f"{what}a {special} tensor; expected a dense tensor; {_ADVICE}")
    if not value.is_floating_point():
        if value.is_complex() or name.rpartition(".")[2] in _NUMBERS:
            raise InputError(f"{what}{value.dtype}; expected floating-point numbers; {_ADVICE}")
        return value
    if not value.numel():
        raise InputError(f"{what}empty, {tuple(value.shape)}; use another checkpoint")
    single = value.to(torch.float32)
    if not torch.isfinite(single).all():
        raise InputError(f"{path}: '{name}' contains NaN or infinity; use another checkpoint")
    return single


def _special_kind(value: Tensor) -> str:
    """Return what is special about a tensor of a module that torch itself restored."""
    kinds = {
        "quantised": value.is_quantized,
        "nested": value.is_nested,
        "sparse": value.layout != torch.strided,
        value.device.type: value.device.type != "cpu",
    }
    return next((kind for kind, applies in kinds.items() if applies), "")
