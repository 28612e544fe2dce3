"""Are segnet-bench's figures for peak memory and median latency right, measured from outside?

    python benchmarks/check_bench.py networks/segnet.onnx [--runtime onnxruntime] [--threads 2]

memory   a comparison's child process runs under GNU time; its "maximum resident set size" is
         compared with the peak that the child reports
latency  this process times the child's rounds of N and of 2N calls, from request to answer:
         (T(2N) - T(N)) / N, in which the discarded warm-up call and the communication cancel
         out, is compared with the median that the child reports for the same calls

Exit status 1 if one differs by more than 5 %.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import options
from harness.results import save
from segnet_deploy.bench.comparison import ComparisonSettings
from segnet_deploy.bench.timing import Timing
from segnet_deploy.cli import command
from segnet_deploy.errors import MissingDependencyError
from segnet_deploy.system.child_process import ChildProcess

WORKER = "segnet_deploy.bench.comparison.network_worker"
LIMIT = 0.05  # largest relative difference


def open_request(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments with which a comparison asks a child to open the network."""
    return {
        "engine": str(arguments.engine),
        "runtime": arguments.runtime,
        "threads": arguments.threads,
        "rebuild": False,
        "image": None,
        "size": list(arguments.imgsz),
        "warm_ups": ComparisonSettings().warm_ups,
    }


def check_memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the child's peak memory as it reports it and as GNU time measures it."""
    gnu_time = shutil.which("time")
    if gnu_time is None:
        raise MissingDependencyError("no GNU time on PATH; install it with: apt-get install time")
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "time.txt"
        with ChildProcess(WORKER, prefix=[gnu_time, "-v", "-o", str(log)]) as child:
            child.ask("open", **open_request(arguments))
            reported = child.ask("round", runs=3)["peak_bytes"]
            child.close()  # GNU time writes its log when the child ends
        found = re.search(r"Maximum resident set size \(kbytes\): (\d+)", log.read_text())
    assert found is not None
    return {"reported_bytes": reported, "outside_bytes": int(found[1]) * 1024}


def check_latency(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the median that the child reports, and the seconds per call measured here."""
    calls, samples = arguments.calls, list[float]()
    durations: dict[int, list[float]] = {1: [], 2: []}  # by multiple of `calls`
    with ChildProcess(WORKER) as child:
        child.ask("open", **open_request(arguments))
        for index in range(arguments.rounds):
            for factor in (1, 2) if index % 2 else (2, 1):  # a slowing machine favours neither
                started = time.perf_counter()
                answer = child.ask("round", runs=factor * calls)
                durations[factor].append(time.perf_counter() - started)
                samples += answer["samples"]["total"]
    return {
        "reported_seconds": Timing(tuple(samples)).median,
        "outside_seconds": (sum(durations[2]) - sum(durations[1])) / (arguments.rounds * calls),
        "calls": calls,
        "short": durations[1],
        "long": durations[2],
        "samples": samples,
    }


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = options.new_parser(__doc__)
    parser.add_argument("engine", type=Path, help="ONNX file")
    parser.add_argument("--runtime", default="onnxruntime", choices=("onnxruntime", "openvino"))
    options.add_size(parser)
    options.add_measurement(parser, rounds=4)
    parser.add_argument(
        "--calls", type=int, default=10, metavar="N", help="calls per short round (default: 10)"
    )
    options.add_result(parser)
    return parser


def check_bench(arguments: argparse.Namespace) -> int:
    """Print both comparisons; return the exit status."""
    result = {"memory": check_memory(arguments), "latency": check_latency(arguments)}
    passed = True
    for name, key, unit, scale in (
        ("memory", "bytes", "MB", 1e6),
        ("latency", "seconds", "ms", 1e-3),
    ):
        reported, outside = result[name][f"reported_{key}"], result[name][f"outside_{key}"]
        difference = reported / outside - 1
        within = abs(difference) <= LIMIT
        passed &= within
        print(
            f"{name:8} reported {reported / scale:8.1f} {unit}, "
            f"from outside {outside / scale:8.1f} {unit}: {difference:+.1%} "
            f"{'ok' if within else 'MORE THAN 5 %'}"
        )
    save(arguments.json, result)
    return 0 if passed else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), check_bench, argv)


if __name__ == "__main__":
    sys.exit(main())
