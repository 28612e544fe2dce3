"""Read tensors by name from .pt, .pth, safetensors and TorchScript files."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from segnet_deploy.errors import InputError, SegNetError
from segnet_deploy.optional import require
from segnet_deploy.pretrained import pretrained_names
from segnet_export.checkpoints.networks import WRAPPERS, Layer, Network, find_networks
from segnet_export.checkpoints.torch_files import find_activation, read_torch_file

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "segnet.")
# Tensors of a training script, beside those of the network.
_BESIDE = re.compile(
    r"(.*[._])?(criterion|loss(es|_fn)?|metrics?)([._\d].*)?|(train|val|test)_\w+\..*|"
    r"((pixel|img|image)_)?(mean|std)|class_weights?|n_averaged|num_updates|decay"
)


@dataclass(frozen=True)
class RawCheckpoint:
    """The tensors of a file by name.

    A value is a Tensor, or an object that `check_tensors` refuses. `ordered`: they are in the
    order of the module. `left_out` names tensors of the file that are not the network's, such as
    the class weights of a loss. `key` is where in the file's dicts the tensors are, and
    `other_keys` where other networks are, such as a teacher or an average. `layers` has the
    network's modules by name if it was saved whole; `activation` is one that is not ReLU and that
    the code of a TorchScript archive calls.
    """

    tensors: dict[str, Any]
    ordered: bool = True
    left_out: tuple[str, ...] = ()
    key: str = ""
    other_keys: tuple[str, ...] = ()
    layers: Mapping[str, Layer] = field(default_factory=dict)
    activation: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the choice of the tensors."""
        if not self.other_keys:
            return ()
        others = " and ".join(repr(key) for key in self.other_keys)
        return (
            f"the weights under '{self.key}' are used, but {others} also has weights; --key "
            "chooses",
        )


def read_checkpoint(
    path: str | os.PathLike[str], unsafe: bool = False, key: str | None = None
) -> RawCheckpoint:
    """Read the tensors under their names in the file; only `unsafe` executes code from it.

    `key` chooses the weights of a file with several networks, such as 'student' or
    'ema.state_dict'. Raises InputError if the file is missing or truncated, or has no weights
    under `key`.
    """
    file = Path(path)
    if not file.is_file():
        names = "" if file.suffix else f", or a pretrained network: {', '.join(pretrained_names())}"
        raise InputError(
            f"no such file: {file}; expected a checkpoint (.pt, .pth, .safetensors){names}"
        )
    if file.suffix == ".safetensors":
        if key is not None:
            raise InputError(f"--key {key}: {file} has one network only; omit the option")
        return RawCheckpoint(_safetensors(file), ordered=False)
    found, networks, activation = _torch_file(file, unsafe)
    if not networks:
        kind = getattr(found, "type_name", "") or type(found).__name__
        raise InputError(
            f"{file} contains no weights ({kind}); expected a state dict, or a dict with one under "
            f"{', '.join(WRAPPERS[:4])}, ... If the file builds its weights by code and you trust "
            "its origin, add --unsafe-load"
        )
    return replace(_choose(file, networks, key), activation=activation)


def _choose(file: Path, networks: list[Network], key: str | None) -> RawCheckpoint:
    by_key = {network.key: network for network in networks}
    if key is not None and key not in by_key:
        expected = " or ".join(name or "no --key" for name in by_key)
        raise InputError(f"--key {key}: {file} has no weights there; expected {expected}")
    chosen = networks[0] if key is None else by_key[key]
    others = tuple(name for name in by_key if name != chosen.key) if key is None else ()
    return RawCheckpoint(chosen.tensors, key=chosen.key, other_keys=others, layers=chosen.layers)


def strip_prefixes(raw: RawCheckpoint, wanted: Collection[str] = ()) -> RawCheckpoint:
    """Remove `module.` and similar prefixes that all convolutions share.

    Tensors without the prefix, and those of losses and metrics, belong to something else, and are
    left out. Stops early once the names contain all of `wanted`.
    """
    tensors, layers, removed = raw.tensors, raw.layers, ""
    left_out = list(raw.left_out)
    while not wanted or not tensors.keys() >= set(wanted):
        names = [n for n, value in tensors.items() if _is_convolution(value)] or list(tensors)
        prefix = next((p for p in PREFIXES if names and names[0].startswith(p)), None)
        if prefix is None or not all(name.startswith(prefix) for name in names):
            break
        left_out += [removed + name for name in tensors if not name.startswith(prefix)]
        tensors = {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}
        layers = {n[len(prefix) :]: v for n, v in layers.items() if n.startswith(prefix)}
        removed += prefix
    beside = [name for name in tensors if _BESIDE.fullmatch(name) and name not in wanted]
    left_out += [removed + name for name in beside]
    tensors = {name: value for name, value in tensors.items() if name not in beside}
    return replace(raw, tensors=tensors, layers=layers, left_out=tuple(left_out))


def describe_use(used: int, left_out: Sequence[str]) -> str:
    """Return which of a file's tensors a network uses, for the user."""
    if not left_out:
        return f"all {used} tensors of the file are used"
    names = ", ".join(left_out[:8]) + (", ..." if len(left_out) > 8 else "")
    text = f"{used} tensors are used; {len(left_out)} are not the network's and left out: {names}"
    if any(name.endswith(("mean", "std")) and "running" not in name for name in left_out):
        text += "; give --mean and --std if the network normalises its input by them"
    return text


def _is_convolution(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4


def _torch_file(file: Path, unsafe: bool) -> tuple[Any, list[Network], str]:
    """Return the object in the file, its networks, and the activation that its code calls."""
    try:
        found = read_torch_file(file, unsafe)
        return found, find_networks(found), find_activation(file)
    except SegNetError:
        raise
    except (AttributeError, ModuleNotFoundError) as error:
        if not unsafe:
            raise _damaged(file, error) from error
        raise InputError(
            f"{file} needs a class that cannot be imported ({error}); run from its project's "
            "folder or set PYTHONPATH, or save model.state_dict()"
        ) from error
    except Exception as error:  # a damaged zip or pickle can raise almost anything
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> InputError:
    lines = str(error).strip().splitlines()
    reason = lines[0][:160] if lines else type(error).__name__
    return InputError(
        f"{file} is not a checkpoint, or is truncated or damaged ({reason}); copy it again"
    )


def _safetensors(file: Path) -> dict[str, Tensor]:
    safetensors = require("safetensors", extra="export")
    try:
        with safetensors.safe_open(str(file), framework="pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping
            # save_model omits tied tensors and records the name of the one that it wrote.
            for alias, name in (stream.metadata() or {}).items():
                if name in tensors and alias not in tensors:
                    tensors[alias] = tensors[name]
    except Exception as error:  # safetensors has its own error type per version
        raise InputError(
            f"{file} is not a complete safetensors file ({error}); copy it again"
        ) from error
    return tensors
