"""How close is each engine to what this machine can compute, and where does its time go?

    python benchmarks/limits.py [--onnx FILE] [--bf16 FILE] [--int8 FILE] [--json FILE]

Measures the ceilings (compiled loops of multiply-adds in registers and AMX tiles, a library's
large GEMM, memcpy) and the engines in one run, the engines in interleaved rounds. The dense floor
is the time that the network's multiply-adds take at the highest ceiling of their precision, which
the output names. Winograd convolutions do fewer of them, so an engine that uses them can be faster
than this floor. A bf16 file is measured where it is computed in bf16.
The time by operator needs the wall clock.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness import options
from harness.ceilings import measure_ceilings
from harness.measurement import CLOCKS, report_left_out, time_by_operator, time_in_turns
from harness.results import machine_facts, save
from segnet_deploy import runtimes
from segnet_deploy.bench.graph_cost import dense_work
from segnet_deploy.cli import command
from segnet_deploy.errors import EngineError, InputError, SegNetError
from segnet_deploy.progress import Progress
from segnet_deploy.runtimes.base import Engine
from segnet_deploy.system.cpus import usable_cpus
from segnet_deploy.types import Array

SHOWN = 6  # operators per line


def measure(
    files: dict[str, Path],
    ceilings: dict[str, Any],
    threads: int,
    rounds: int,
    clock: str,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return one row per precision and runtime. Raises InputError for a dynamic shape."""
    macs = {precision: count_macs(path) for precision, path in files.items()}
    engines = _open_all(files, threads, progress)
    calls = {
        f"{precision}, {runtime}": partial(engine.run, x)
        for (precision, runtime), (engine, x) in engines.items()
    }
    timings = time_in_turns(calls, rounds, clock=CLOCKS[clock])
    rows = []
    for (precision, runtime), (engine, x) in engines.items():
        timing = timings[f"{precision}, {runtime}"]
        floor = macs[precision] / 1e9 / ceilings["gmacs"][precision]
        times = time_by_operator(engine, x) if clock == "wall" else {}
        profile = {name: seconds * 1e3 for name, seconds in times.items()}
        rows.append(
            {
                "precision": precision,
                "runtime": runtime,
                "seconds": timing.summary(),
                "gmac": macs[precision] / 1e9,
                "dense_floor_seconds": floor,
                "of_floor": timing.median / floor,
                "dense_gmacs": macs[precision] / 1e9 / timing.median,
                "profile_ms": profile,
            }
        )
    return rows


def count_macs(path: Path) -> int:
    """Return the multiply-adds of a file with static shapes. Raises InputError."""
    found = dense_work(path)
    if found is None:
        raise InputError(f"{path} has dynamic or unknown shapes; export it with fixed sizes")
    return found.macs


def _open_all(
    files: dict[str, Path], threads: int, progress: Progress
) -> dict[tuple[str, str], tuple[Engine, Array]]:
    """Return each engine and a random input, by precision and runtime."""
    engines = {}
    for precision, path in files.items():
        for runtime in runtimes.installed():
            try:
                engine = runtimes.open(path, runtime, threads)
                if precision == "bf16" and not engine.computes_half:
                    raise EngineError("computes it in fp32")
            except SegNetError as error:
                report_left_out(f"{precision}, {runtime}", error, progress)
                continue
            port = engine.inputs[0]
            rng = np.random.default_rng(0)
            x = rng.integers(0, 256, [size or 1 for size in port.shape]).astype(port.dtype)
            engines[precision, runtime] = engine, x
    return engines


def format_table(ceilings: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the ceilings, one line per engine, and where its time goes."""
    lines = [f"ceilings: memcpy {ceilings['memcpy_gbs']:.1f} GB/s; in GMAC/s:"]
    for precision, rates in ceilings["rates"].items():
        shown = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        lines.append(f"  {precision}: {shown}; taken: {ceilings['taken'][precision]}")
    if ceilings["no_amx"]:
        lines.append(f"  no AMX tile loop: {ceilings['no_amx']}")
    lines.append(f"\n{'engine':20}{'median s':>10}{'floor s':>9}{'x floor':>9}{'GMAC/s':>9}")
    for row in rows:
        lines.append(
            f"{row['precision'] + ', ' + row['runtime']:20}{row['seconds']['median']:10.3f}"
            f"{row['dense_floor_seconds']:9.3f}{row['of_floor']:9.2f}{row['dense_gmacs']:9.0f}"
            + ("  below the dense floor: Winograd" if row["of_floor"] < 1 else "")
        )
        slowest = list(row["profile_ms"].items())[:SHOWN]
        shown = ", ".join(f"{name} {ms:.0f}" for name, ms in slowest)
        lines.append(f"    ms: {shown or 'not reported'}")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = options.new_parser(__doc__)
    parser.add_argument("--onnx", metavar="FILE", help="default: full SegNet, random weights")
    parser.add_argument("--bf16", metavar="FILE", help="a bf16 file of segnet-export")
    parser.add_argument("--int8", metavar="FILE", help="an INT8 file of segnet-export")
    options.add_size(parser)
    options.add_measurement(parser, len(usable_cpus()))
    options.add_clock(parser)
    options.add_result(parser)
    return parser


def limits(arguments: argparse.Namespace) -> None:
    """Measure, print and save."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(arguments.onnx or Path(folder) / "segnet.onnx")
        if not arguments.onnx:
            from harness.networks import load_network, write_onnx
            from segnet_export import ExportOptions

            size = (arguments.imgsz[0], arguments.imgsz[1])
            write_onnx(load_network(None), path, size, ExportOptions(io="frame"))
        given = {"bf16": arguments.bf16, "int8": arguments.int8}
        files = {"fp32": path} | {kind: Path(file) for kind, file in given.items() if file}
        ceilings = measure_ceilings(arguments.threads, arguments.clock)
        settings = (arguments.threads, arguments.rounds, arguments.clock)
        rows = measure(files, ceilings, *settings, arguments.progress)
    print(format_table(ceilings, rows))
    result = {
        "benchmark": "limits",
        "what": "seconds of inference against the dense floor, interleaved rounds",
        "threads": arguments.threads,
        "clock": arguments.clock,
        **machine_facts(),
        "ceilings": ceilings,
        "engines": rows,
    }
    save(arguments.json, result)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), limits, argv)


if __name__ == "__main__":
    sys.exit(main())
