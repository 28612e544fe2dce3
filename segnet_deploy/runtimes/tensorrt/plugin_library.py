"""The plugin library, which both building and loading a plugin-form engine need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segnet_deploy.errors import EngineError, InputError, MissingDependencyError
from segnet_deploy.native.find import find_library
from segnet_deploy.passes import contract


def find_plugin(path: Path | None = None, required: bool = False) -> Path | None:
    """Return the plugin library: `path`, or the one that was built with the package.

    Raises InputError if `path` does not exist, MissingDependencyError if one is `required` and
    none was built.
    """
    if path is not None:
        if not path.is_file():
            raise InputError(f"--plugin {path}: no such file; expected libsegnet_tensorrt.so")
        return path.resolve()
    found = find_library("segnet_tensorrt")
    if found is None and required:
        raise MissingDependencyError(
            "the plugin library is not installed: build it with CMake (TensorRT_ROOT and nvcc) and "
            "give --plugin, or use --form lowered"
        )
    return found


def load_plugin(registry: Any, path: str, log: Any) -> None:
    """Load the plugin library unless its plugins are registered: TensorRT refuses them twice.

    Raises EngineError with the reason in the logger `log`.
    """
    if not _is_registered(registry):
        registry.load_library(path)  # None if it fails
    if not _is_registered(registry):
        raise EngineError(f"the plugin library {path} cannot be loaded: {log.reason()}")


def _is_registered(registry: Any) -> bool:
    key = contract.PLUGIN_VERSION, contract.PLUGIN_NAMESPACE
    known = {(c.name, c.plugin_version, c.plugin_namespace) for c in registry.all_creators}
    return {(contract.POOL, *key), (contract.UNPOOL, *key)} <= known
