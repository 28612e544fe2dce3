"""The camera loop: newest frame in, labels out, for as long as it takes.

with Camera("segnet.onnx", "rtsp://192.168.0.9/stream") as camera:
    for result in camera.results():
        act_on(result.labels)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segnet_deploy.camera.result import STATES, Output, Result, Status

if TYPE_CHECKING:
    from segnet_deploy.camera.loop import Camera

__all__ = ["STATES", "Camera", "Output", "Result", "Status"]


def __getattr__(name: str) -> Any:
    """Import the loop when it is asked for, so that `--help` stays fast."""
    if name == "Camera":
        from segnet_deploy.camera.loop import Camera

        return Camera
    raise AttributeError(f"module 'segnet_deploy.camera' has no attribute {name!r}")
