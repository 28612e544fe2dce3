"""What serving the camera's page costs the loop: share of a core, by number of viewers.

    python benchmarks/camera_web.py --size 360x480 --fps 30 --viewers 0 1 8

Viewers are other processes that ask for picture after picture, as the page does. CPU time is
this process's own, drawing excluded: the frames are drawn before. One line of JSON a case.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time

import numpy as np

from segnet_deploy.camera.result import Result, Status
from segnet_deploy.camera.web import serve
from segnet_deploy.camera.web.server import WebPage
from segnet_deploy.classes import CAMVID
from segnet_deploy.scenes import draw_scene


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="360x480", help="HxW (360x480)")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--viewers", type=int, nargs="+", default=[0, 1, 8])
    parser.add_argument("--watch", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.watch:
        asyncio.run(watch(arguments.watch))
        return 0
    height, width = map(int, arguments.size.split("x"))
    scenes = [draw_scene(seed, height, width) for seed in range(8)]
    for viewers in arguments.viewers:
        with serve("127.0.0.1:0", CAMVID.names, CAMVID.palette, viewers=max(viewers, 1)) as page:
            processes = [start_viewer(page) for _ in range(viewers)]
            try:
                case = measure(page, scenes, arguments.fps, arguments.seconds)
            finally:
                for process in processes:
                    process.kill()
                    process.wait()
        print(json.dumps({"viewers": viewers, "size": arguments.size} | case), flush=True)
    return 0


def start_viewer(page: WebPage) -> subprocess.Popen[str]:
    """Start a viewer and return when it is connected."""
    command = [sys.executable, __file__, "--watch", page.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


async def watch(url: str) -> None:
    """Ask for pictures until killed."""
    import aiohttp

    async with aiohttp.ClientSession() as session, session.ws_connect(url + "live") as viewer:
        await viewer.receive()
        print("connected", flush=True)
        for _ in range(2):
            await viewer.send_str("next")
        async for message in viewer:
            if message.type is aiohttp.WSMsgType.BINARY:
                await viewer.send_str("next")


def measure(page: WebPage, scenes: list, fps: float, seconds: float) -> dict:
    """Show `scenes` at `fps` and return the cost."""
    status = Status("live", "benchmark", 0.0)
    took: list[float] = []
    before = page.pictures
    wall, cpu = time.monotonic(), time.process_time()
    while (now := time.monotonic()) - wall < seconds:
        scene = scenes[len(took) % len(scenes)]
        result = Result(scene.frame, scene.labels, len(took), now, 0.0, status)
        began = time.perf_counter()
        page.show(result)
        took.append(time.perf_counter() - began)
        if len(took) % round(fps) == 0:
            page.tell(status)
        time.sleep(max(0.0, wall + len(took) / fps - time.monotonic()))
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return {
        "core_percent": round(100 * cpu / wall, 2),
        "pictures_per_second": round((page.pictures - before) / wall, 1),
        "show_us_median": round(1e6 * float(np.median(took)), 1),
        "show_us_p99": round(1e6 * float(np.percentile(took, 99)), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
