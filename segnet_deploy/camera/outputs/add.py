"""Open outputs and add them to a camera. A new output gets its keyword here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segnet_deploy.camera.outputs.background import Background
from segnet_deploy.camera.outputs.disk_space import MIN_FREE_BYTES
from segnet_deploy.camera.outputs.label_images import LabelImages
from segnet_deploy.camera.outputs.label_lines import LabelLines
from segnet_deploy.camera.outputs.recording import Recording
from segnet_deploy.camera.outputs.status_log import StatusLog
from segnet_deploy.camera.outputs.systemd_watchdog import SystemdWatchdog
from segnet_deploy.camera.outputs.window import Window
from segnet_deploy.camera.web import serve as serve_page

if TYPE_CHECKING:
    from segnet_deploy.camera.loop import Camera


def add_outputs(
    camera: Camera,
    *,
    labels: str | Path | None = None,
    record: str | Path | None = None,
    serve: str | None = None,
    window: bool = False,
    status_log: bool = False,
    systemd_watchdog: bool = False,
    segment: float = 60.0,
    min_free_bytes: int = MIN_FREE_BYTES,
    alpha: float = 0.5,
    token: str | None = None,
) -> None:
    """Open outputs and append them to `camera.outputs`, which `camera.close` closes.

    `labels` is a folder for PNGs of class ids, or a .jsonl file for run lengths. `record` is a
    name OUT.mp4 for overlays, written as OUT-00001.mp4, ... of `segment` seconds each. `serve` is
    HOST:PORT of the web page; `token` is required except on a loopback address. `window` shows
    overlays; q or Esc stops the camera. `status_log` writes the status to the log,
    `systemd_watchdog` reports it to systemd. `alpha` is the weight of the colours, 0 to 1.
    While the disk has less than `min_free_bytes` free, nothing is written.

        with Camera("segnet.onnx", "/dev/video0") as camera:
            add_outputs(camera, record="drive.mp4", serve="127.0.0.1:8080")
            for result in camera.results():
                act_on(result.labels)

    Raises InputError (a path, port or display cannot be used), UsageError (an invalid address, a
    missing or weak token) or MissingDependencyError.
    """
    palette, add = camera.metadata.palette, camera.outputs.append
    if systemd_watchdog:
        add(SystemdWatchdog())
    if status_log:
        add(StatusLog())
    if labels:
        kind = LabelLines if str(labels).endswith(".jsonl") else LabelImages
        add(Background(kind(labels, min_free_bytes), wait=camera.every_frame))
    if record:
        recording = Recording(record, palette, alpha, segment, min_free_bytes)
        add(Background(recording, wait=camera.every_frame))
    if serve:
        add(serve_page(serve, camera.metadata.classes, palette, token))
    if window:
        add(Window(palette, camera.stop, alpha))
