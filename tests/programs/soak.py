"""Soak test of the camera loop on a real RTSP server that is killed repeatedly (`make soak`).

The server draws the time into each picture, so ages are measured from drawing to publishing.
The engine is a sleep. With --serve a client reads the page during the whole run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from array import array
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import clock_pattern
from rtsp_server import Server, usable
from sleep_engine import sleeping

from segnet_deploy.bench.timing import Timing
from segnet_deploy.camera import Camera, Result, Status, add_outputs
from segnet_deploy.system.memory import rss_bytes

MAX_RECOVERY = 3.0  # seconds within which the loop must be live again
MARGIN = 0.15  # seconds by which the age may exceed the engine's time
MAX_GROWTH = 1e6  # bytes in 10 minutes


class Probe:
    """Records when each result was published and how old its picture was."""

    def __init__(self) -> None:
        self.times, self.ages = array("d"), array("d")  # compact: memory is measured
        self.unreadable = 0
        self.states: list[str] = []

    def show(self, result: Result) -> None:
        age = clock_pattern.age(result.frame[..., 1])
        if age is None:
            self.unreadable += 1
        else:
            self.ages.append(age)
            self.times.append(time.monotonic())

    def report(self, status: Status) -> None:
        if not self.states or self.states[-1] != status.state:
            self.states.append(status.state)

    def close(self) -> None:
        """Do nothing."""

    def first_after(self, moment: float, limit: float) -> float | None:
        """Wait for a result drawn after `moment`; return its delay in seconds, or None."""
        while time.monotonic() - moment < limit:
            if self.times and self.times[-1] - self.ages[len(self.times) - 1] > moment:
                return time.monotonic() - moment
            time.sleep(0.02)
        return None


def count_resources() -> dict[str, int]:
    """Return the numbers of threads, descriptors and sockets of this process."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    sockets = sum(link.startswith("socket:") for link in links)
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(links),
        "sockets": sockets,
    }


class Director(threading.Thread):
    """Kills the server, counts resources of the process, and stops the loop at the end."""

    def __init__(self, arguments: argparse.Namespace, server: Server, probe: Probe, camera: Camera):
        super().__init__(daemon=True)
        self.arguments, self.server, self.probe, self.camera = arguments, server, probe, camera
        self.recoveries: list[float | None] = []
        self.resources: list[dict[str, int]] = []
        self.memory: list[tuple[float, int]] = []

    def run(self) -> None:
        arguments = self.arguments
        began = time.monotonic()
        length = arguments.minutes * 60
        every = length / (arguments.kills + 1)
        for number in range(1, arguments.kills + 1):
            self._live_until(began + number * every)
            self.resources.append(count_resources())
            self.server.kill()
            time.sleep(arguments.down)
            self.server.start()
            back = time.monotonic()
            self.recoveries.append(self.probe.first_after(back, 30))
            print(f"kill {number}: live after {self.recoveries[-1]}", file=sys.stderr, flush=True)
        self._live_until(began + length)
        self.resources.append(count_resources())
        self.camera.stop()

    def _live_until(self, moment: float) -> None:
        while time.monotonic() < moment:
            self.memory.append((time.monotonic(), rss_bytes() or 0))
            time.sleep(min(1.0, max(0.0, moment - time.monotonic())))


def slope(samples: list[tuple[float, int]]) -> float:
    """Return the growth in bytes per second: the least-squares line through (time, bytes)."""
    times = [t for t, _ in samples]
    middle, mean = sum(times) / len(times), sum(b for _, b in samples) / len(samples)
    spread = sum((t - middle) ** 2 for t in times)
    return sum((t - middle) * (b - mean) for t, b in samples) / spread


def soak(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the loop and return the figures."""
    probe = Probe()
    with Server() as server:
        camera = Camera(partial(sleeping, arguments.engine_seconds), server.url)
        camera.outputs.append(probe)
        if arguments.record:
            add_outputs(camera, record=folder / "out.mp4", labels=folder / "labels.jsonl")
        with page(camera, arguments.serve) as client:
            director = Director(arguments, server, probe, camera)
            director.start()
            began, cpu = time.monotonic(), time.process_time()
            for _ in camera.results():
                pass
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu
            ended = camera.close()
    return figures(arguments, probe, director, camera.status(), ended) | {
        "seconds": seconds,
        "cpu_of_one_core": cpu / seconds,
        "client": client,
        "recorded_bytes": sum(p.stat().st_size for p in folder.iterdir()),
    }


@contextlib.contextmanager
def page(camera: Camera, address: str | None) -> Any:
    """Serve the page and run a client of it, another process, until the end."""
    client: dict[str, Any] = {"attached": address is not None}
    if address is None:
        yield client
        return
    import soak_client

    from segnet_deploy.camera.web import serve

    metadata = camera.metadata
    output = serve(address, metadata.classes, metadata.palette, None)
    camera.outputs.append(output)
    with soak_client.attached(output.url) as counts:
        yield client
        client |= counts()


def figures(
    arguments: argparse.Namespace, probe: Probe, director: Director, status: Status, ended: bool
) -> dict[str, Any]:
    """Return the measurements and the result of each check."""
    first, ages = probe.times[0], probe.ages
    length = probe.times[-1] - first
    parts: list[list[float]] = [[] for _ in range(5)]
    for moment, age in zip(probe.times, ages, strict=True):
        parts[min(4, int(5 * (moment - first) / length))].append(age)
    warm = director.memory[0][0] + arguments.warm_up * 60
    settled = [sample for sample in director.memory if sample[0] >= warm]
    growth = slope(settled) * 600 if len(settled) > 10 else None
    limit = arguments.engine_seconds + MARGIN
    fifths = [Timing(tuple(part)).summary()["median"] if part else None for part in parts]
    summary = Timing(tuple(ages)).summary()
    resources = director.resources
    checks = {
        "age": summary["p99"] <= limit,
        "back": all(r is not None and r <= MAX_RECOVERY for r in director.recoveries),
        "held": all(resources[-1][key] <= resources[0][key] for key in resources[0]),
        "memory": growth is None or growth <= MAX_GROWTH,
        "threads_ended": ended,
    }
    return {
        "engine": f"sleep of {arguments.engine_seconds} s",
        "results": len(ages),
        "unreadable": probe.unreadable,
        "age": summary,
        "age_limit_p99": limit,
        "age_median_by_fifth": fifths,
        "kills": len(director.recoveries),
        "down": arguments.down,
        "live_again": director.recoveries,
        "held_before_each_kill": resources,
        "rss_first_settled_last": [b for _, b in (director.memory[:1] + settled[:1])]
        + [director.memory[-1][1]],
        "rss_growth_bytes_in_10_minutes": growth,
        "warm_up_minutes": arguments.warm_up,
        "status": vars(status),
        "checks": checks,
    }


def main() -> int:
    """Run the soak test; return 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=22)
    parser.add_argument(
        "--warm-up", type=float, default=5, metavar="MIN", help="leave out of the memory trend"
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--down", type=float, default=10, metavar="S")
    parser.add_argument("--engine-seconds", type=float, default=0.3)
    parser.add_argument("--serve", metavar="HOST:PORT", help="serve the page and attach a client")
    parser.add_argument("--record", action="store_true", help="record overlays and labels too")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    if not usable():
        sys.exit("error: no RTSP server; tests/support/rtsp_server.py lists the packages of Debian")
    with tempfile.TemporaryDirectory() as folder:
        result = soak(arguments, Path(folder))
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).parent.mkdir(parents=True, exist_ok=True)
        Path(arguments.json).write_text(text + "\n")
    return 0 if all(result["checks"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
