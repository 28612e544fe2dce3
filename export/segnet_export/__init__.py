"""Export a trained SegNet on the workstation: checkpoint or module in, checked ONNX file out.

load_checkpoint, load_weights, create   a network with its weights
export                                  the network as an ONNX file
trace, write                            several files of one network
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segnet_export.checkpoints import LoadedCheckpoint, load_checkpoint, load_weights
    from segnet_export.export_options import ExportOptions, GateOptions
    from segnet_export.exporter import ExportResult, Trace, export, trace, write
    from segnet_export.models import (
        ARCHITECTURES,
        Architecture,
        SegNet,
        SegNetBasic,
        SegNetConfig,
        create,
        place_dropout,
    )
    from segnet_export.parity.report import GateReport, GateRow

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "ExportOptions",
    "ExportResult",
    "GateOptions",
    "GateReport",
    "GateRow",
    "LoadedCheckpoint",
    "SegNet",
    "SegNetBasic",
    "SegNetConfig",
    "Trace",
    "create",
    "export",
    "load_checkpoint",
    "load_weights",
    "place_dropout",
    "trace",
    "write",
]

_MODULES = {
    "checkpoints": ("LoadedCheckpoint", "load_checkpoint", "load_weights"),
    "export_options": ("ExportOptions", "GateOptions"),
    "exporter": ("ExportResult", "Trace", "export", "trace", "write"),
    "models": (
        *("ARCHITECTURES", "Architecture", "SegNet", "SegNetBasic", "SegNetConfig", "create"),
        "place_dropout",
    ),
    "parity.report": ("GateReport", "GateRow"),
}


def __getattr__(name: str) -> Any:
    """Import a public name, and torch with it, on first use.

    Raises MissingDependencyError, which names the extra to install, if torch is missing.
    """
    import importlib

    from segnet_deploy.optional import require

    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module 'segnet_export' has no attribute {name!r}")
    require("torch", extra="export")
    return getattr(importlib.import_module(f"segnet_export.{module}"), name)
