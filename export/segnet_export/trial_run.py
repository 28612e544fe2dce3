"""Run a module once before it is exported, and explain why it does not run or does not repeat."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_export.module_outputs import name_tensors

_MULTIPLE = 32  # of sizes that five pools halve exactly


def run_once(module: nn.Module, example: Tensor) -> dict[str, Tensor]:
    """Run `module` on `example`, (N, C, H, W) float32; return the tensors of its result by name.

    Raises InputError with the module's own error if it does not run.
    """
    try:
        with torch.no_grad():
            return name_tensors(module(example))
    except Exception as error:  # a user's module raises anything
        height, width = example.shape[2:]
        raise InputError(
            f"the model does not run at {height}x{width} with {example.shape[1]} channels: "
            f"{_reason(error)}{_advice(module, example)}"
        ) from error


def check_repeatable(module: nn.Module, example: Tensor, found: Mapping[str, Tensor]) -> None:
    """Run `module` again; raise UnsupportedModelError, with the cause, if `found` changes."""
    with RandomCalls() as calls, torch.no_grad():
        again = name_tensors(module(example))
    changed = [name for name, tensor in found.items() if not _equal(tensor, again.get(name))]
    if not changed:
        return
    cause = "it uses random numbers of Python or numpy, or keeps a state between its calls"
    if calls.found:
        cause = f"it draws random numbers in evaluation mode: {calls.found[0]}"
    raise UnsupportedModelError(
        f"two runs of the model on one image differ in '{changed[0]}': {cause}. A file cannot "
        "agree with it; for dropout use nn.Dropout, or F.dropout(x, training=self.training), which "
        "--mc-dropout N samples"
    )


def find_input_channels(module: nn.Module, height: int, width: int) -> int:
    """Return the channels of the image that `module` reads: what its first convolution needs.

    The module runs as far as its first 2-D convolution. 3 if it does not get there.
    """
    tried = 3
    try:
        with _FirstConvolution(), torch.no_grad():
            module(torch.zeros(1, tried, height, width))
    except _ConvolutionError as found:
        channels = tried * found.needed // found.given
        return channels if tried * found.needed % found.given == 0 else tried
    except Exception:  # run_once reports it
        pass
    return tried


class RandomCalls(TorchDispatchMode):
    """Record the source lines that draw random numbers, as `code (file, line n)`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.found: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.found.append(_caller(str(func)))
        return func(*args, **(kwargs or {}))


class _ConvolutionError(Exception):
    """Ends a run at the first convolution: the channels that it is given, and those it needs."""

    def __init__(self, given: int, needed: int):
        super().__init__()
        self.given, self.needed = given, needed


class _FirstConvolution(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d:
            keywords = kwargs or {}
            x, weight = (*args, *(keywords[n] for n in ("input", "weight") if n in keywords))[:2]
            groups = args[6] if len(args) > 6 else keywords.get("groups", 1)
            raise _ConvolutionError(x.shape[1], weight.shape[1] * groups)
        return func(*args, **(kwargs or {}))


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def _advice(module: nn.Module, example: Tensor) -> str:
    """Return what the user can do about a module that does not run, or nothing."""
    if inputs := _further_inputs(module):
        names = ", ".join(["x", *inputs])
        return (
            f"; forward({names}) has {1 + len(inputs)} inputs and a file has one: wrap it in a "
            "class with def forward(self, x): return self.net(x[:, :3], x[:, 3:])"
        )
    kinds = {type(layer).__name__ for layer in module.modules()}
    if other := sorted(kinds & {"Conv1d", "Conv3d", "MaxPool1d", "MaxPool3d"}):
        return f"; it has {other[0]} layers, but the input is a 2-D image (N, C, H, W)"
    height, width = (-(-n // _MULTIPLE) * _MULTIPLE for n in example.shape[2:])
    if (height, width) == tuple(example.shape[2:]):
        return ""
    try:
        with torch.no_grad():
            module(example.new_zeros(*example.shape[:2], height, width))
    except Exception:  # the size is not the reason
        return ""
    return (
        f"; it runs at {height}x{width}: networks that unpool without output_size need multiples "
        f"of {_MULTIPLE}, so choose --imgsz {height} {width}"
    )


def _further_inputs(module: nn.Module) -> list[str]:
    """Return the names of the positional inputs without a default after the first."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return []
    required = [p.name for p in parameters if p.kind in kinds and p.default is p.empty]
    return required[1:]


def _caller(name: str) -> str:
    """Return the innermost source line outside torch, or the operator's name."""
    libraries = (str(Path(torch.__file__).parent), __file__)
    for frame in reversed(traceback.extract_stack()):
        if frame.line and not frame.filename.startswith(libraries):
            return f"{frame.line} ({Path(frame.filename).name}, line {frame.lineno})"
    return name


def _equal(one: Tensor, other: Tensor | None) -> bool:
    return (
        other is not None
        and one.shape == other.shape
        and bool(((one == other) | one.isnan()).all())
    )
