"""Locate the native libraries that are installed with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def find_library(name: str) -> Path | None:
    """Return the path of the library `name`, such as "segnet_cpu", or None if it was not built."""
    folder = Path(str(resources.files("segnet_deploy.native").joinpath("lib")))
    return next(iter(sorted(folder.glob(f"*{name}.*"))), None)
