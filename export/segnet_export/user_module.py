"""`--module pkg.mod:Class`: the user's own class, with the checkpoint's weights."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from torch import nn

from segnet_deploy.errors import InputError, UsageError
from segnet_deploy.progress import Progress, silent
from segnet_export.checkpoints import load_weights


def load_user_module(
    spec: str,
    arguments: str | None,
    path: Path,
    *,
    unsafe: bool = False,
    key: str | None = None,
    progress: Progress = silent,
) -> nn.Module:
    """Import `spec`, 'pkg.mod:Class', construct it and load the weights at `path`.

    `arguments` are the constructor's keyword arguments as a JSON object. Raises UsageError for an
    invalid spec or JSON, and InputError if the class or the weights cannot be used.
    """
    module_name, _, class_name = spec.partition(":")
    if not module_name or not class_name:
        raise UsageError(f"--module {spec}; expected pkg.mod:Class")
    keywords = _parse_keywords(arguments)
    found = _import(module_name, class_name)
    try:
        module = found if isinstance(found, nn.Module) else found(**keywords)  # type: ignore[operator]
    except TypeError as error:
        raise InputError(f"{spec} cannot be constructed: {error}; give --module-args") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"{spec} returns a {type(module).__name__}; expected a torch.nn.Module")
    load_weights(module, path, unsafe=unsafe, key=key, name=spec, progress=progress)
    return module


def _parse_keywords(arguments: str | None) -> dict[str, Any]:
    try:
        keywords = json.loads(arguments) if arguments else {}
        if not isinstance(keywords, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"--module-args {arguments}: {error}; expected JSON such as '{{\"num_classes\": 11}}'"
        ) from error
    return keywords


def _import(module_name: str, class_name: str) -> object:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
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
        sys.path.remove(folder)
