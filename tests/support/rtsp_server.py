"""A real RTSP server (GStreamer's) whose pictures show the time; `Server` runs it.

The program runs under the system's Python, which has Debian's bindings:
gir1.2-gst-rtsp-server-1.0, python3-gi, python3-numpy, gstreamer1.0-plugins-{base,good,ugly}.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PYTHON = "/usr/bin/python3"
ENCODING = (
    "( appsrc name=source is-live=true do-timestamp=true format=time "
    "caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast bitrate=1500 key-int-max={fps} ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )"
)
SOUND = "( audiotestsrc is-live=true ! mulawenc ! rtppcmupay name=pay0 pt=0 )"
PROBE = (
    "import gi, numpy; gi.require_version('Gst', '1.0'); "
    "gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "assert all(map(Gst.ElementFactory.find, ('appsrc', 'x264enc', 'rtph264pay')))"
)


def usable() -> bool:
    """Return whether the system's Python can run the server."""
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", PROBE], capture_output=True, check=False).returncode == 0


class Server:
    """The server as a child process that can be killed, frozen and restarted."""

    def __init__(self, fps: int = 30, media: str = "video"):
        self.size = (480, 360)  # width, height; a change applies from the next start
        self._fps, self._media = fps, media
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/stream"

    def start(self) -> None:
        """Start the server and wait until it listens."""
        command = [PYTHON, __file__, "--port", self.port, "--fps", self._fps, "--size", *self.size]
        command += ["--media", self._media]
        self._process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "ready"

    def kill(self) -> None:
        """Kill the server, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self, frozen: bool) -> None:
        """Suspend the server with its sockets open, or resume it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def feed(source: Any, width: int, height: int, fps: int) -> None:
    """Push pictures with a moving pattern and the time, until the pipeline stops."""
    import clock_pattern
    import numpy as np
    from gi.repository import Gst

    picture = np.full(width * height * 3 // 2, 128, np.uint8)
    luma = picture[: width * height].reshape(height, width)
    wave = (100 + 60 * np.sin(np.arange(2 * width) / 25)).astype(np.uint8)
    due, number, flow = time.monotonic(), 0, Gst.FlowReturn.OK
    while flow == Gst.FlowReturn.OK:
        luma[:] = wave[number % width : number % width + width]
        clock_pattern.draw(luma, clock_pattern.milliseconds())
        flow = source.emit("push-buffer", Gst.Buffer.new_wrapped(picture.tobytes()))
        number, due = number + 1, due + 1 / fps
        time.sleep(max(0.0, due - time.monotonic()))


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--media", choices=("video", "audio"), default="video")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 360))
    arguments = parser.parse_args()
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    width, height = arguments.size

    def configure(_: Any, media: Any) -> None:
        source = media.get_element().get_by_name("source")
        picture = (source, width, height, arguments.fps)
        threading.Thread(target=feed, args=picture, daemon=True).start()

    server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
    server.set_address("127.0.0.1")
    server.set_service(arguments.port)
    factory.set_shared(True)
    factory.set_latency(0)
    if arguments.media == "video":
        factory.set_launch(ENCODING.format(width=width, height=height, fps=arguments.fps))
        factory.connect("media-configure", configure)
    else:
        factory.set_launch(SOUND)
    server.get_mount_points().add_factory("/stream", factory)
    if not server.attach(None):
        sys.exit(f"port {arguments.port} is in use")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
