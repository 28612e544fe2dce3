"""Check segnet-bench's own figures from outside: peak memory and median latency.

    python benchmarks/witness.py networks/segnet.onnx [--runtime onnxruntime] [--threads 2]

memory   the worker of a comparison runs under GNU time; its "maximum resident set size" against
         the peak that the worker itself reports
latency  a separate program loads the file and makes N calls; (T(2N) - T(N)) / N of its wall time
         against the median of a comparison's worker. The three are taken in turns.

Exit status 1 where one differs by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from segnet_deploy.compare import Settings
from segnet_deploy.compare.process import WorkerProcess
from segnet_deploy.errors import MissingDependencyError
from segnet_deploy.files import atomic_write
from segnet_deploy.measure import Timing

LIMIT = 0.05
CALLS = """
import sys
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import load
path, runtime, threads, height, width, count = sys.argv[1:]
with load(path, runtime, threads=int(threads) or None) as segmenter:
    frame = draw_scene(0, int(height), int(width)).frame
    for _ in range(int(count)):
        segmenter.segment(frame)
"""


def request(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a comparison asks a worker to open."""
    return {
        "engine": str(arguments.engine),
        "runtime": arguments.runtime,
        "threads": arguments.threads,
        "rebuild": False,
        "image": None,
        "size": list(arguments.imgsz),
        "warm_ups": Settings().warm_ups,
    }


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the worker's peak as GNU time and as the worker itself see it."""
    gnu_time = shutil.which("time")
    if gnu_time is None:
        raise MissingDependencyError("no GNU time on PATH; install it with: apt-get install time")
    with tempfile.TemporaryDirectory() as name:
        said = Path(name) / "time.txt"
        worker = WorkerProcess([gnu_time, "-v", "-o", str(said)])
        worker.ask("open", **request(arguments))
        reported = worker.ask("round", runs=3)["peak_bytes"]
        worker.close()
        found = re.search(r"Maximum resident set size \(kbytes\): (\d+)", said.read_text())
    assert found is not None
    return {"reported_bytes": reported, "outside_bytes": int(found[1]) * 1024}


def latency(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the median that a worker reports, and the seconds per call seen from outside."""
    n, samples, short, long = arguments.calls, list[float](), list[float](), list[float]()
    worker = WorkerProcess()
    worker.ask("open", **request(arguments))
    for _ in range(arguments.rounds):
        samples += worker.ask("round", runs=n)["samples"]["total"]
        short.append(wall_seconds(arguments, n))
        long.append(wall_seconds(arguments, 2 * n))
    worker.close()
    pairs = [(b - a) / n for a, b in zip(short, long, strict=True)]
    return {
        "reported_seconds": Timing(tuple(samples)).median,
        "outside_seconds": Timing(tuple(pairs)).median,
        "calls": n,
        "short": short,
        "long": long,
        "samples": samples,
    }


def wall_seconds(arguments: argparse.Namespace, count: int) -> float:
    """Return the wall time of a process that loads the file and makes `count` calls."""
    words = [arguments.engine, arguments.runtime, arguments.threads or 0, *arguments.imgsz, count]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", CALLS, *map(str, words)], check=True)
    return time.perf_counter() - started


def main() -> int:
    """Print both comparisons; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", type=Path)
    parser.add_argument("--runtime", default="onnxruntime", choices=("onnxruntime", "openvino"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--imgsz", nargs=2, type=int, default=(360, 480), metavar=("H", "W"))
    parser.add_argument("--calls", type=int, default=8, metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    result = {"memory": memory(arguments), "latency": latency(arguments)}
    passed = True
    for name, unit, scale in (("memory", "bytes", 1e6), ("latency", "seconds", 1e-3)):
        inside, outside = (result[name][f"{side}_{unit}"] for side in ("reported", "outside"))
        off = inside / outside - 1
        passed &= abs(off) <= LIMIT
        word = "MB" if name == "memory" else "ms"
        print(
            f"{name:8} reported {inside / scale:8.1f} {word}, from outside {outside / scale:8.1f} "
            f"{word}: {off:+.1%} {'ok' if abs(off) <= LIMIT else 'MORE THAN 5 %'}"
        )
    if arguments.json:
        atomic_write(arguments.json, (json.dumps(result, indent=1) + "\n").encode())
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
