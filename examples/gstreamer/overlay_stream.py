"""Segment the frames of a GStreamer pipeline, and send the overlays through another one.

    python overlay_stream.py segnet.onnx 'v4l2src ! image/jpeg ! jpegdec' \
      'vp8enc deadline=1 ! webmmux ! filesink location=out.webm'

Run on 26 November 2026: x86-64, GStreamer 1.22, PyGObject 3.42, with videotestsrc and vp8enc. Not
run with a camera or on a Jetson. The first pipeline gets a sink, the second a source.
Needs PyGObject: python3-gi and gir1.2-gst-plugins-base-1.0, in an environment that was made with
--system-site-packages.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import Gst, GstApp  # noqa: E402, F401  (GstApp adds the methods of appsrc)

from segnet_deploy.camera import Camera  # noqa: E402
from segnet_deploy.camera.result import Result, Status  # noqa: E402
from segnet_deploy.overlay import overlay  # noqa: E402

CAPS = "video/x-raw,format=BGR,width={width},height={height},framerate=0/1"


class OverlayPipeline:
    """An output of the camera loop: pushes overlays into a pipeline that starts with the first."""

    def __init__(self, text: str, palette: Any):
        Gst.init(None)
        self._pipeline = Gst.parse_launch(
            f"appsrc name=overlays format=time is-live=true ! videoconvert ! {text}"
        )
        self._source = self._pipeline.get_by_name("overlays")
        self._palette, self._start = palette, 0.0

    def show(self, result: Result) -> None:
        """Push the overlay, with the time at which its frame was captured."""
        height, width = result.labels.shape
        if not self._start:
            self._start = result.captured
            caps = Gst.Caps.from_string(CAPS.format(width=width, height=height))
            self._source.set_property("caps", caps)
            self._pipeline.set_state(Gst.State.PLAYING)
        picture = overlay(result.frame, result.labels, self._palette)
        rows = picture.reshape(height, width * 3)
        padded = b"".join(row.tobytes().ljust(-(-width * 3 // 4) * 4, b"\0") for row in rows)
        buffer = Gst.Buffer.new_wrapped(padded)
        buffer.pts = int((result.captured - self._start) * Gst.SECOND)
        self._source.emit("push-buffer", buffer)

    def report(self, status: Status) -> None:
        """Nothing: the log has the status."""

    def close(self) -> None:
        """End the stream, wait until the last element has written it, and stop."""
        self._source.emit("end-of-stream")
        ends = Gst.MessageType.EOS | Gst.MessageType.ERROR
        message = self._pipeline.get_bus().timed_pop_filtered(5 * Gst.SECOND, ends)
        self._pipeline.set_state(Gst.State.NULL)
        if message is not None and message.type == Gst.MessageType.ERROR:
            print(f"error: {message.parse_error()[0].message}", file=sys.stderr)


def main(engine: str, source: str, sink: str, seconds: float | None = None) -> None:
    """Run for `seconds`, or until Ctrl-C."""
    with Camera(engine, source, duration=seconds) as camera:
        camera.outputs.append(OverlayPipeline(sink, camera.metadata.palette))
        with contextlib.suppress(KeyboardInterrupt):
            for _ in camera.results():
                pass
        print(f"{camera.status().shown} frames")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(f"usage: {sys.argv[0]} segnet.onnx 'SOURCE' 'SINK' [SECONDS]")
    main(*sys.argv[1:4], *map(float, sys.argv[4:]))
