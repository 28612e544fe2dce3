"""GStreamer pipelines, including CSI cameras of Jetsons: by OpenCV if it has GStreamer, else gi."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import numpy as np

from segnet_deploy.camera.sources.base import (
    PendingFrame,
    SourceLostError,
    SourceOptions,
    without_password,
)
from segnet_deploy.camera.sources.opencv_stream import OpencvStream
from segnet_deploy.errors import InputError, MissingDependencyError
from segnet_deploy.optional import available, require

CSI = (
    "nvarguscamerasrc sensor-id={sensor} ! "
    "video/x-raw(memory:NVMM),width={width},height={height},framerate={fps}/1 ! "
    "nvvidconv ! video/x-raw,format=BGRx"
)
CSI_SIZE = (720, 1280)
BGR = " ! videoconvert ! video/x-raw,format=BGR"
SINK = BGR + " ! appsink name=segnet drop=true max-buffers=1 sync=false"


class Pipeline:
    """A pipeline as for gst-launch-1.0, without a sink; csi://N is CSI camera number N."""

    live = True

    def __init__(self, uri: str, options: SourceOptions):
        self.name = without_password(uri)
        self._text = (csi_pipeline(uri, options) if uri.startswith("csi:") else uri) + SINK

    def open(self, timeout: float) -> OpencvStream | GstStream:
        """Start the pipeline; see Source. Raises MissingDependencyError without GStreamer."""
        if available("cv2") and _opencv_has_gstreamer():
            return self._open_opencv(timeout)
        if available("gi"):
            return GstStream(self._text, self.name, timeout)
        raise MissingDependencyError(
            f"{self.name}: no usable GStreamer; OpenCV's wheels on PyPI are built without it. "
            "Use the OpenCV of JetPack or of the distribution (python3-opencv), or PyGObject "
            "(python3-gi, gir1.2-gst-plugins-base-1.0) in an environment made with "
            "--system-site-packages"
        )

    def _open_opencv(self, timeout: float) -> OpencvStream:
        cv2: Any = require("cv2", extra="camera")
        wait_ms = int(timeout * 1000)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait_ms]
        capture = cv2.VideoCapture(self._text, cv2.CAP_GSTREAMER, limits)
        if not capture.isOpened():
            capture.release()
            raise SourceLostError(f"{self.name}: GStreamer cannot start the pipeline")
        return OpencvStream(capture, self.name, timeout)


def csi_pipeline(uri: str, options: SourceOptions) -> str:
    """Return the pipeline of csi://N for JetPack's camera stack. Raises InputError."""
    sensor = urlsplit(uri).netloc
    if not sensor.isdigit():
        raise InputError(f"source {uri}; expected csi:// and the sensor number, such as csi://0")
    height, width = options.size or CSI_SIZE
    return CSI.format(sensor=sensor, width=width, height=height, fps=round(options.fps or 30))


class GstStream:
    """A running pipeline; frames are pulled from its appsink. `errors` stays 0."""

    errors = 0

    def __init__(self, text: str, name: str, timeout: float):
        self._name, self._timeout = name, timeout
        self._gst = _gst()
        try:
            self._pipeline = self._gst.parse_launch(text)
        except self._gst_error() as error:
            raise SourceLostError(f"{name}: {without_password(str(error))}") from error
        self._sink = self._pipeline.get_by_name("segnet")
        self._pipeline.set_state(self._gst.State.PLAYING)

    def read(self) -> PendingFrame | None:
        """Pull a frame; see Stream."""
        sample = self._sink.emit("try-pull-sample", int(self._timeout * self._gst.SECOND))
        if sample is None:
            raise SourceLostError(f"{self._name}: {self._message()}")
        shape = sample.get_caps().get_structure(0)
        height, width = shape.get_value("height"), shape.get_value("width")
        buffer = sample.get_buffer()
        return lambda: _picture(buffer.extract_dup(0, buffer.get_size()), height, width)

    def close(self) -> None:
        """Stop the pipeline."""
        self._pipeline.set_state(self._gst.State.NULL)

    def _message(self) -> str:
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        if message is None:
            return f"no frame for {self._timeout:g} s"
        return without_password(str(message.parse_error()[0].message))

    def _gst_error(self) -> Any:
        return require("gi.repository.GLib").Error


def _picture(data: bytes, height: int, width: int) -> Any:
    """View rows of BGR, each padded to a multiple of 4 bytes, as (H, W, 3)."""
    rows = np.frombuffer(data, np.uint8).reshape(height, -1)
    return rows[:, : width * 3].reshape(height, width, 3)


def _gst() -> Any:
    gi: Any = require("gi")
    try:
        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
    except ValueError as error:
        raise MissingDependencyError(
            f"{error}: install gir1.2-gst-plugins-base-1.0 and gstreamer1.0-plugins-base"
        ) from error
    from gi.repository import Gst, GstApp  # noqa: F401, RUF100 (GstApp adds the methods of appsink)

    Gst.init(None)
    return Gst


def _opencv_has_gstreamer() -> bool:
    cv2: Any = require("cv2", extra="camera")
    return bool(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))
