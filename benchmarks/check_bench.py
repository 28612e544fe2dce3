"""Check segnet-bench's own figures from outside: peak memory and median latency.

    python benchmarks/check_bench.py networks/segnet.onnx [--runtime onnxruntime] [--threads 2]

memory   the worker of a comparison runs under GNU time; its "maximum resident set size" against
         the peak that the worker itself reports
latency  this program's clock, in another process, times the worker's rounds of N and of 2N calls
         from request to answer: (T(2N) - T(N)) / N, in which the call that is not counted and the
         conversation cancel out, against the median that the worker reports for those same calls

Exit status 1 where one differs by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segnet_deploy.bench.comparison import Settings
from segnet_deploy.bench.comparison.process_pool import start_worker
from segnet_deploy.bench.timing import Timing
from segnet_deploy.cli import command
from segnet_deploy.errors import MissingDependencyError
from segnet_deploy.files import atomic_write

LIMIT = 0.05


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
        worker = start_worker([gnu_time, "-v", "-o", str(said)])
        worker.ask("open", **request(arguments))
        reported = worker.ask("round", runs=3)["peak_bytes"]
        worker.close()
        found = re.search(r"Maximum resident set size \(kbytes\): (\d+)", said.read_text())
    assert found is not None
    return {"reported_bytes": reported, "outside_bytes": int(found[1]) * 1024}


def latency(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the median that a worker reports, and the seconds per call seen from outside."""
    n, samples, walls = arguments.calls, list[float](), {1: list[float](), 2: list[float]()}
    worker = start_worker()
    worker.ask("open", **request(arguments))
    for index in range(arguments.rounds):
        for times in (1, 2) if index % 2 else (2, 1):  # a machine that slows down favours neither
            started = time.perf_counter()
            answer = worker.ask("round", runs=times * n)
            walls[times].append(time.perf_counter() - started)
            samples += answer["samples"]["total"]
    worker.close()
    return {
        "reported_seconds": Timing(tuple(samples)).median,
        "outside_seconds": (sum(walls[2]) - sum(walls[1])) / (arguments.rounds * n),
        "calls": n,
        "short": walls[1],
        "long": walls[2],
        "samples": samples,
    }


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", type=Path)
    parser.add_argument("--runtime", default="onnxruntime", choices=("onnxruntime", "openvino"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--imgsz", nargs=2, type=int, default=(360, 480), metavar=("H", "W"))
    parser.add_argument("--calls", type=int, default=10, metavar="N")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", metavar="FILE")
    return parser


def witness(arguments: argparse.Namespace) -> int:
    """Print both comparisons; return the exit status."""
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), witness, argv)


if __name__ == "__main__":
    sys.exit(main())
