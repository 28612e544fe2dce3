"""The camera loop: segment the newest frame of a source until it ends.

    from segnet_deploy.camera import Camera, add_outputs

    with Camera("segnet.onnx", "rtsp://192.168.0.9/stream") as camera:
        add_outputs(camera, record="drive.mp4")
        for result in camera.results():
            act_on(result.labels)

loop       Camera: runs the threads and shows each result to the outputs
capture    the thread that decodes a source; inference, the thread that runs the engine
sources/   where frames come from, outputs/ where results go: one file per kind
web/       the page that `serve` starts
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segnet_deploy.camera.outputs.base import Output
from segnet_deploy.camera.result import STATES, Result, Status
from segnet_deploy.camera.sources.base import (
    PendingFrame,
    Source,
    SourceLostError,
    SourceOptions,
    Stream,
)

if TYPE_CHECKING:
    from segnet_deploy.camera.loop import Camera
    from segnet_deploy.camera.outputs.add import add_outputs
    from segnet_deploy.camera.sources.find import find_source
    from segnet_deploy.results.run_lengths import labels_from_runs

__all__ = [
    "STATES",
    "Camera",
    "Output",
    "PendingFrame",
    "Result",
    "Source",
    "SourceLostError",
    "SourceOptions",
    "Status",
    "Stream",
    "add_outputs",
    "find_source",
    "labels_from_runs",
]

_MODULES = {
    "Camera": "camera.loop",
    "add_outputs": "camera.outputs.add",
    "find_source": "camera.sources.find",
    "labels_from_runs": "results.run_lengths",
}


def __getattr__(name: str) -> Any:
    """Import what loads numpy only when it is used, so that `--help` stays fast."""
    import importlib

    if name in _MODULES:
        return getattr(importlib.import_module(f"segnet_deploy.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'segnet_deploy.camera' has no attribute {name!r}")
