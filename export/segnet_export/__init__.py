"""Export SegNet on the workstation: checkpoint or module in, gated ONNX out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segnet_export.checkpoints import LoadedCheckpoint, load_checkpoint
    from segnet_export.exporter import (
        ExportOptions,
        ExportResult,
        GateOptions,
        Trace,
        export,
        trace,
        write,
    )
    from segnet_export.models import SegNet, SegNetBasic, SegNetConfig

__all__ = [
    "ExportOptions",
    "ExportResult",
    "GateOptions",
    "LoadedCheckpoint",
    "SegNet",
    "SegNetBasic",
    "SegNetConfig",
    "Trace",
    "export",
    "load_checkpoint",
    "trace",
    "write",
]

_HOMES = {
    "ExportOptions": "exporter",
    "ExportResult": "exporter",
    "GateOptions": "exporter",
    "LoadedCheckpoint": "checkpoints",
    "SegNet": "models",
    "SegNetBasic": "models",
    "SegNetConfig": "models",
    "Trace": "exporter",
    "export": "exporter",
    "load_checkpoint": "checkpoints",
    "trace": "exporter",
    "write": "exporter",
}


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f"segnet_export.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'segnet_export' has no attribute {name!r}")
