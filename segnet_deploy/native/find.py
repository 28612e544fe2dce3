"""Where the native libraries of the package are."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def find_library(name: str) -> Path | None:
    """Return the library `name` that was built with the package, or None."""
    folder = Path(str(resources.files("segnet_deploy").joinpath("native")))
    return next(iter(sorted(folder.glob(f"*{name}.*"))), None)
