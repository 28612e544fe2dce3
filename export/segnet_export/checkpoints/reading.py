"""Read tensors by name from .pt, .pth, safetensors and TorchScript files."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segnet_deploy.errors import InputError
from segnet_deploy.optional import require

# Keys under which training scripts save the weights; the first that exists is used.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
)
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "segnet.")
MAGIC = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # zip, pickle 2 to 5


@dataclass(frozen=True)
class RawCheckpoint:
    """The tensors of a file by name.

    `ordered`: they are in the order of the module. `left_out` names tensors of the file that are
    not the network's, such as the class weights of a loss. `key` is where in the file's dicts the
    tensors are, and `other_keys` where other networks are, such as a teacher or an average.
    """

    tensors: dict[str, Tensor]
    ordered: bool = True
    left_out: tuple[str, ...] = ()
    key: str = ""
    other_keys: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the choice of the tensors."""
        notes = []
        if self.other_keys:
            others = " and ".join(repr(key) for key in self.other_keys)
            notes.append(
                f"the weights under '{self.key}' are used, but {others} also has weights; --key "
                "chooses"
            )
        if self.left_out:
            names = ", ".join(self.left_out[:3]) + (", ..." if len(self.left_out) > 3 else "")
            notes.append(
                f"{len(self.left_out)} tensors are not the network's and are left out: {names}"
            )
        return tuple(notes)


def read_checkpoint(
    path: str | os.PathLike[str], unsafe: bool = False, key: str | None = None
) -> RawCheckpoint:
    """Read the tensors under their names in the file; only `unsafe` executes code from it.

    `key` chooses the weights of a file with several networks, such as 'student' or
    'ema.state_dict'. Raises InputError if the file is missing or truncated, contains Python
    objects, or has no weights under `key`.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no such file: {file}; expected a checkpoint (.pt, .pth, .safetensors)")
    if key is not None and (file.suffix == ".safetensors" or _is_torchscript(file)):
        raise InputError(f"--key {key}: {file} has one network only; omit the option")
    if file.suffix == ".safetensors":
        return RawCheckpoint(_safetensors(file), ordered=False)
    if _is_torchscript(file):
        return RawCheckpoint(_torchscript(file))
    found = _pickled(file, unsafe)
    networks = dict(find_networks(found))
    if not networks:
        raise InputError(
            f"{file} contains no weights ({type(found).__name__}); expected a state dict, or a "
            f"dict with one under {', '.join(WRAPPERS[:4])}, ..."
        )
    chosen = next(iter(networks)) if key is None else key
    if chosen not in networks:
        raise InputError(
            f"--key {key}: {file} has no weights there; expected {' or '.join(networks)}"
        )
    others = tuple(name for name in networks if name != chosen) if key is None else ()
    return RawCheckpoint(networks[chosen], key=chosen, other_keys=others)


def find_networks(found: Any, key: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the key and the state dict of each network inside a training script's dicts.

    The usual keys come first. States of optimisers, which have `param_groups`, are left out.
    """
    if isinstance(found, nn.Module):
        yield key, dict(found.state_dict())
    if not isinstance(found, Mapping) or "param_groups" in found:
        return
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if any(value.dim() == 4 for value in tensors.values()):
        yield key, tensors
        return
    known = [name for name in WRAPPERS if name in found]
    for name in (*known, *(name for name in found if name not in known)):
        yield from find_networks(found[name], f"{key}.{name}" if key else str(name))


def strip_prefixes(raw: RawCheckpoint, wanted: Collection[str] = ()) -> RawCheckpoint:
    """Remove `module.` and similar prefixes that all convolutions share.

    Tensors without the prefix belong to something else, and are left out. Stops early once the
    names contain all of `wanted`.
    """
    tensors, removed, left_out = raw.tensors, "", list(raw.left_out)
    while not wanted or not tensors.keys() >= set(wanted):
        names = [n for n, value in tensors.items() if value.dim() == 4] or list(tensors)
        prefix = next((p for p in PREFIXES if names and names[0].startswith(p)), None)
        if prefix is None or not all(name.startswith(prefix) for name in names):
            break
        left_out += [removed + name for name in tensors if not name.startswith(prefix)]
        tensors = {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}
        removed += prefix
    return replace(raw, tensors=tensors, left_out=tuple(left_out))


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


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _torchscript(file: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            module = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{file} is not a complete TorchScript file ({_first_line(error)}); copy it again"
            ) from error
        return dict(module.state_dict())


def _pickled(file: Path, unsafe: bool) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=not unsafe)
    except pickle.UnpicklingError as error:
        if _magic(file) not in MAGIC:
            raise _damaged(file, error) from error
        raise InputError(
            f"{file} contains Python objects, not only weights; loading them would execute code "
            "from the file. If you trust its origin, add --unsafe-load; otherwise save "
            "model.state_dict()"
        ) from error
    except (AttributeError, ModuleNotFoundError) as error:
        raise InputError(
            f"{file} needs a class that cannot be imported ({error}); run from its project's "
            "folder or set PYTHONPATH, or save model.state_dict()"
        ) from error
    except Exception as error:  # a damaged zip or pickle can raise almost anything
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> InputError:
    return InputError(
        f"{file} is not a checkpoint, or is truncated ({_first_line(error)}); copy it again"
    )


def _magic(file: Path) -> bytes:
    """Return the first two bytes of a file."""
    with open(file, "rb") as stream:
        return stream.read(2)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
