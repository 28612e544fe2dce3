"""The tensors that a module returns: their names, and which of them a file has as outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from segnet_deploy.errors import InputError
from segnet_deploy.passes.to_frame_io import FRAME, LABELS

IMAGE, LOGITS = "image", "logits"
_MAIN = "out"  # the key of the main output in torchvision's segmentation models


class NamedOutputs(nn.Module):
    """Call a module and return the tensors called `names`, in this order; one of them as itself."""

    def __init__(self, module: nn.Module, names: Sequence[str]):
        super().__init__()
        self.module, self.names = module, tuple(names)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = name_tensors(self.module(x))
        chosen = tuple(found[name] for name in self.names)
        return chosen[0] if len(chosen) == 1 else chosen


def name_tensors(result: Any) -> dict[str, Tensor]:
    """Return the tensors in a module's result by name, in its order.

    A tensor alone is called `logits`. The members of dicts, dataclasses and named tuples have
    their keys as names, those of tuples and lists their number: `output_0`; the names of nested
    ones are joined: `depth_1`. A name that a file uses itself gets `_output` as a suffix.

    >>> import torch
    >>> a, b = torch.zeros(1), torch.ones(1)
    >>> list(name_tensors({"seg": a, "aux": [a, b], "step": 3}))
    ['seg', 'aux_0', 'aux_1']
    """
    named: dict[str, Tensor] = {}
    for path, tensor in _walk(result, ()):
        name = "_".join(path) or LOGITS
        name = f"output_{name}" if name[0].isdigit() else name
        while name in (IMAGE, FRAME, LABELS) or name in named:
            name += "_output"
        named[name] = tensor
    return named


def choose_outputs(found: Mapping[str, Tensor], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a file's outputs, the label output first.

    `wanted` None: every tensor of real numbers, once, of which `out`, or else the first, is the
    label output. Raises InputError for a name that the module does not return.
    """
    real: list[str] = []
    for name, tensor in found.items():
        if tensor.is_floating_point() and all(found[other] is not tensor for other in real):
            real.append(name)
    listed = ", ".join(real) or "none"
    if wanted is None:
        if not real:
            raise InputError("the model returns no tensor of real numbers; expected logits")
        return tuple(sorted(real, key=lambda name: name != _MAIN))
    if not wanted or len(set(wanted)) < len(wanted):
        raise InputError(f"outputs {', '.join(wanted) or 'none'}; expected different names")
    for name in wanted:
        if name not in real:
            raise InputError(f"the model has no output '{name}' of real numbers; it has: {listed}")
    return tuple(wanted)


def _walk(result: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    if isinstance(result, Tensor):
        yield path, result
        return
    members: list[tuple[Any, Any]] = []
    if isinstance(result, Mapping):
        members = list(result.items())
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        members = list(zip(result._fields, result, strict=True))
    elif isinstance(result, (tuple, list)):
        members = list(enumerate(result))
    elif is_dataclass(result) and not isinstance(result, type):
        members = [(field.name, getattr(result, field.name)) for field in fields(result)]
    for key, member in members:
        yield from _walk(member, (*path, str(key)))
