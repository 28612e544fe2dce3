"""Read tensors by name from .pt, .pth, safetensors and TorchScript files."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
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
    """The tensors of a file by name; `ordered`: they are in the order of the module."""

    tensors: dict[str, Tensor]
    ordered: bool = True


def read_checkpoint(path: str | os.PathLike[str], unsafe: bool = False) -> RawCheckpoint:
    """Read a checkpoint; only `unsafe` executes code from the file.

    Raises InputError if the file is missing or truncated, or contains Python objects.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no such file: {file}; expected a checkpoint (.pt, .pth, .safetensors)")
    if file.suffix == ".safetensors":
        return RawCheckpoint(strip_prefixes(_safetensors(file)), ordered=False)
    if _is_torchscript(file):
        return RawCheckpoint(strip_prefixes(_torchscript(file)))
    found = _pickled(file, unsafe)
    tensors = unwrap(found)
    if not tensors:
        raise InputError(
            f"{file} contains no weights ({type(found).__name__}); expected a state dict, or a "
            f"dict with one under {', '.join(WRAPPERS[:4])}, ..."
        )
    return RawCheckpoint(strip_prefixes(tensors))


def unwrap(found: Any) -> dict[str, Tensor]:
    """Return the state dict inside `found`, at any depth of a training script's dicts."""
    if isinstance(found, nn.Module):
        return dict(found.state_dict())
    if not isinstance(found, Mapping):
        return {}
    tensors = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    if any(value.dim() == 4 for value in tensors.values()):
        return tensors
    known = [found[name] for name in WRAPPERS if name in found]
    rest = [value for key, value in found.items() if "optim" not in str(key)]
    for value in known + rest:
        if inner := unwrap(value):
            return inner
    return {}


def strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove `module.` and similar prefixes while every name starts with the same one."""
    while tensors:
        first = next(iter(tensors))
        prefix = next((p for p in PREFIXES if first.startswith(p)), None)
        if prefix is None or not all(name.startswith(prefix) for name in tensors):
            break
        tensors = {name[len(prefix) :]: value for name, value in tensors.items()}
    return tensors


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
