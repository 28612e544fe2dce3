"""`--module pkg.mod:Class`: the user's own class, with the checkpoint's weights."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from torch import nn

from segnet_deploy.errors import InputError, UsageError
from segnet_export.checkpoints.read import read


def load_own_module(spec: str, arguments: str | None, path: Path, unsafe: bool) -> nn.Module:
    """Import `pkg.mod:Class`, build it with JSON keyword arguments and load the weights.

    Raises UsageError for a bad spec and InputError where class or weights do not fit.
    """
    module_name, _, class_name = spec.partition(":")
    if not module_name or not class_name:
        raise UsageError(f"--module {spec}; expected pkg.mod:Class")
    try:
        keywords = json.loads(arguments) if arguments else {}
        if not isinstance(keywords, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise UsageError(
            f"--module-args {arguments}: {error}; expected JSON such as '{{\"num_classes\": 11}}'"
        ) from error
    found = _import(module_name, class_name)
    try:
        module = found if isinstance(found, nn.Module) else found(**keywords)  # type: ignore[operator]
    except TypeError as error:
        raise InputError(f"{spec} cannot be built: {error}; give --module-args") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"{spec} gives a {type(module).__name__}; expected a torch.nn.Module")
    try:
        module.load_state_dict(read(path, unsafe).tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} does not fit {spec}: {reason[:300]}") from error
    return module


def _import(module_name: str, class_name: str) -> object:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise InputError(
            f"--module {module_name}:{class_name} cannot be imported ({error}); run from its "
            "project's folder or set PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise InputError(f"{module_name} has no {class_name}") from error
    finally:
        sys.path.remove(str(Path.cwd()))
