"""Import optional libraries where they are used, naming the extra that brings them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from segnet_deploy.errors import MissingDependencyError


def require(name: str, extra: str) -> ModuleType:
    """Import `name`, or raise MissingDependencyError with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is not usable here ({error}); install it with: "
            f'pip install "segnet-deploy[{extra}]"'
        ) from error


def available(name: str) -> bool:
    """Tell whether `name` could be imported, without importing it; a bare folder is no package."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None
