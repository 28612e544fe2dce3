"""Find the plugin library, which both building and loading a plugin-form engine need."""

from __future__ import annotations

from pathlib import Path

from segnet_deploy.errors import InputError, MissingDependencyError
from segnet_deploy.native.find import find_library


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
