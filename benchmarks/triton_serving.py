"""What does a Triton server add to a frame, and how many frames per second does it serve?

    python benchmarks/triton_serving.py --engine segnet.onnx --server grpc://127.0.0.1:8001/segnet
        [--clients 1 2 4] [--rounds 5] [--json FILE]

The server must serve the same file (`segnet-triton segnet.onnx -o models --threads N`) on this
machine. Rounds take turns: the file in this process, one client, one client without shared memory,
and several clients at once. Every result is compared with that of the file.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness import options
from harness.results import machine_facts, save
from segnet_deploy import load
from segnet_deploy.bench.timing import Timing
from segnet_deploy.cli import command
from segnet_deploy.errors import EngineError
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Frame

FRAMES = 8  # per round and client
Round = Callable[[], tuple[float, list[float]]]


def one_after_another(segmenter: Segmenter, frames: Sequence[Frame], wanted: list[Frame]) -> Round:
    """Return a round of one caller: the seconds in all, and of each frame."""

    def run() -> tuple[float, list[float]]:
        seconds = []
        for frame, labels in zip(frames, wanted, strict=True):
            before = time.perf_counter()
            found = segmenter.segment(frame)
            seconds.append(time.perf_counter() - before)
            if not np.array_equal(found, labels):
                raise EngineError("the server's labels differ from those of the file")
        return sum(seconds), seconds

    return run


def at_once(segmenters: Sequence[Segmenter], frames: Sequence[Frame], wanted: list[Frame]) -> Round:
    """Return a round of several clients, each with a connection of its own."""
    callers = [one_after_another(one, frames, wanted) for one in segmenters]

    def run() -> tuple[float, list[float]]:
        found: list[list[float]] = []
        threads = [threading.Thread(target=lambda c=c: found.append(c()[1])) for c in callers]
        before = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(found) < len(callers):
            raise EngineError("a client failed; see above")
        return time.perf_counter() - before, [s for seconds in found for s in seconds]

    return run


def measure(arguments: argparse.Namespace, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Return the figures of each way, all of the same rounds; `stack` closes the segmenters."""

    def opened() -> Segmenter:
        return stack.enter_context(load(arguments.server))

    frames = [draw_scene(seed, *arguments.imgsz).frame for seed in range(FRAMES)]
    local = load(arguments.engine, arguments.runtime, threads=arguments.threads)
    stack.push(local)
    wanted = [local.segment(frame) for frame in frames]
    plain = opened()
    plain.engine.stop_sharing()  # type: ignore[attr-defined]
    ways: dict[str, Round] = {
        "in this process": one_after_another(local, frames, wanted),
        "one client": one_after_another(opened(), frames, wanted),
        "one client, no shared memory": one_after_another(plain, frames, wanted),
    }
    for clients in arguments.clients:
        several = [opened() for _ in range(clients)]
        ways[f"{clients} clients at once"] = at_once(several, frames, wanted)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, run in ways.items():
            seconds, each = run()
            if number:  # the first warms up
                taken[name] += each
                rates[name].append(len(each) / seconds)
        arguments.progress("rounds", number, arguments.rounds)
    base = Timing(tuple(taken["in this process"])).median
    return {
        name: {
            "median": Timing(tuple(taken[name])).median,
            "p99": Timing(tuple(taken[name])).percentile(99),
            "ratio": Timing(tuple(taken[name])).median / base,
            "frames_per_second": Timing(tuple(rates[name])).median,
        }
        for name in ways
    }


def format_rows(rows: dict[str, Any]) -> str:
    """Return the table."""
    lines = [f"{'':32}{'median ms':>10}{'p99 ms':>9}{'ratio':>7}{'frames/s':>10}"]
    for name, row in rows.items():
        lines.append(
            f"{name:32}{row['median'] * 1e3:10.1f}{row['p99'] * 1e3:9.1f}{row['ratio']:7.2f}"
            f"{row['frames_per_second']:10.2f}"
        )
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table, write the JSON."""
    with contextlib.ExitStack() as stack:
        rows = measure(arguments, stack)
    print(format_rows(rows))
    settings = {"engine": arguments.engine, "runtime": arguments.runtime}
    settings |= {"threads": arguments.threads, "size": list(arguments.imgsz)}
    save(
        arguments.json,
        {"benchmark": "triton_serving", **settings, "rows": rows, **machine_facts()},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = options.new_parser(__doc__)
    parser.add_argument("--engine", required=True, metavar="M.onnx")
    parser.add_argument("--server", required=True, metavar="grpc://HOST:PORT/MODEL")
    parser.add_argument("--runtime", default="auto", help="of --engine in this process")
    parser.add_argument("--clients", type=int, nargs="+", default=[2, 4], help="at once")
    options.add_measurement(parser)
    options.add_size(parser)
    options.add_result(parser)
    return command.run(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
