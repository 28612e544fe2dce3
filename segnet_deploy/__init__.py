"""Run SegNet on the device: ONNX in, label maps out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segnet_deploy.errors import (
    EngineError,
    InputError,
    MissingDependencyError,
    ParityError,
    SegNetError,
    UnsupportedModelError,
    UsageError,
)

if TYPE_CHECKING:
    from segnet_deploy.metadata import Metadata
    from segnet_deploy.segmenter import Segmenter, load

    __version__: str

__all__ = [
    "EngineError",
    "InputError",
    "Metadata",
    "MissingDependencyError",
    "ParityError",
    "SegNetError",
    "Segmenter",
    "UnsupportedModelError",
    "UsageError",
    "__version__",
    "load",
]

_HOMES = {"Metadata": "metadata", "Segmenter": "segmenter", "load": "segmenter"}


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is asked for, so that `--help` stays fast."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f"segnet_deploy.{_HOMES[name]}"), name)
    if name == "__version__":
        from importlib import metadata

        try:
            return metadata.version("segnet-deploy")
        except metadata.PackageNotFoundError:  # run from a source tree
            return "0.1.0"
    raise AttributeError(f"module 'segnet_deploy' has no attribute {name!r}")
