"""The loop on a real RTSP server that is killed, frozen and reconfigured; GStreamer pipelines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import clock_pattern
import pytest
from rtsp_server import Server
from sleep_engine import sleeping

from segnet_deploy.camera import Camera, Result, Status

pytestmark = pytest.mark.needs("rtsp")


class Watcher:
    """An output that records states and the newest result."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.result: Result | None = None

    def show(self, result: Result) -> None:
        self.result = result

    def report(self, status: Status) -> None:
        if self.states[-1:] != [status.state]:
            self.states.append(status.state)

    def close(self) -> None: ...


class Running:
    """A camera whose loop runs in a thread."""

    def __init__(self, url: str, stall_timeout: float = 2.0):
        self.watcher = Watcher()
        self.camera = Camera(lambda: sleeping(0.002), url, stall_timeout=stall_timeout)
        self.camera.outputs.append(self.watcher)
        self._thread = threading.Thread(target=lambda: list(self._results()))
        self._thread.start()

    def _results(self) -> Iterator[int]:
        yield from (result.sequence for result in self.camera.results())

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, (self.watcher.states, self.camera.status())
            time.sleep(0.02)

    def wait_for_fresh(self) -> None:
        """Wait for a picture that the server drew after this call."""
        now = clock_pattern.milliseconds()

        def fresh() -> bool:
            result = self.watcher.result
            drawn = None if result is None else clock_pattern.read(result.frame[..., 1])
            return drawn is not None and drawn > now

        self.wait_for(fresh)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.camera.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_killed_server_is_reopened_and_nothing_leaks() -> None:
    with Server() as server, Running(server.url) as running:
        running.wait_for_fresh()
        held = descriptors(), threading.active_count()
        for size in ((480, 360), (320, 240)):
            server.kill()
            running.wait_for(lambda: running.watcher.states[-1] == "reconnecting")
            server.size = size
            server.start()
            running.wait_for_fresh()
            assert running.watcher.result is not None
            assert running.watcher.result.labels.shape == size[::-1]
        running.wait_for(lambda: running.watcher.states[-1] == "live")
        assert (descriptors(), threading.active_count()) == held
        assert running.camera.status().reconnects == 2


def test_frozen_server_is_stalled_then_reconnecting() -> None:
    with Server() as server, Running(server.url, stall_timeout=0.8) as running:
        running.wait_for_fresh()
        server.freeze(True)
        running.wait_for(lambda: "reconnecting" in running.watcher.states)
        server.freeze(False)
        running.wait_for_fresh()
        running.wait_for(lambda: running.watcher.states[-1] == "live")
    states = running.watcher.states
    assert states.index("live") < states.index("stalled") < states.index("reconnecting")


def test_camera_that_starts_late_is_waited_for() -> None:
    server = Server()
    with Running(server.url) as running:
        running.wait_for(lambda: running.camera.status().errors >= 2)
        assert set(running.watcher.states) == {"connecting"}
        with server:
            running.wait_for_fresh()


def test_stream_without_video_is_an_error() -> None:
    with Server(media="audio") as server, Running(server.url) as running:
        running.wait_for(lambda: running.camera.status().errors >= 1)
        assert running.watcher.result is None


def test_gstreamer_pipeline_with_the_system_bindings(tmp_path: Path) -> None:
    """The virtual environment has no gi: link Debian's, built for the same Python version."""
    bindings = Path("/usr/lib/python3/dist-packages/gi")
    version = "".join(map(str, sys.version_info[:2]))
    if not list(bindings.glob(f"_gi.cpython-{version}-*.so")):
        pytest.skip(f"Debian's python3-gi is not built for Python {version}")
    (tmp_path / "gi").symlink_to(bindings)
    code = (
        "from segnet_deploy.camera.sources.find import find_source\n"
        "text = 'videotestsrc is-live=true pattern=blue ! video/x-raw,width=62,height=40'\n"
        "stream = find_source(text).open(5.0)\n"
        "frames = [stream.read()() for _ in range(3)]\n"
        "stream.close()\n"
        "print(frames[0].shape, *frames[-1].mean(axis=(0, 1)).round())"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.split() == ["(40,", "62,", "3)", "255.0", "0.0", "0.0"], done.stderr
