"""`segnet-bench`: latency, throughput and memory of an exported file on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segnet_deploy.cli.command import run, write_result
from segnet_deploy.cli.options import rebuild_callback
from segnet_deploy.errors import UsageError
from segnet_deploy.runtimes.base import CHOICES
from segnet_deploy.types import DEFAULT_SIZE

RUNS, ROUNDS, RUNS_PER_ROUND = 30, 9, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), bench, argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-bench`."""
    parser = argparse.ArgumentParser(
        prog="segnet-bench",
        description="Measure an exported ONNX file or an engine from frame to label map, or "
        "compare several: each in a fresh process, in interleaved rounds.",
        epilog="results go to stdout, talk to stderr",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--engine",
        action="append",
        metavar="M.onnx|M.trt",
        help="file of segnet-export or segnet-build; several are compared",
    )
    what.add_argument(
        "--paper",
        metavar="DIR",
        help="compare a folder of networks (benchmarks/paper.py makes one) and judge the claims "
        "of the SegNet paper",
    )
    what.add_argument(
        "--report", metavar="FILE.json", help="make report.html and report.md from a result"
    )
    parser.add_argument("--runtime", choices=CHOICES, default="auto")
    parser.add_argument(
        "--rebuild", action="store_true", help="build a TensorRT engine again if it is stale"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--runs", type=int, metavar="N", help="measured runs (default: 30; of each round: 2)"
    )
    length.add_argument("--duration", type=float, metavar="S", help="seconds instead of --runs")
    parser.add_argument("--threads", type=int, help="CPU threads (default: the runtime's choice)")
    parser.add_argument("--image", metavar="F", help="a frame to use (default: a drawn one)")
    parser.add_argument("--layers", action="store_true", help="also the time of each layer")
    parser.add_argument("--power", action="store_true", help="also the energy of a frame")
    parser.add_argument("--json", metavar="FILE|-", help="write JSON; - for stdout, no table")
    several = parser.add_argument_group("several engines, --paper, --report")
    several.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="folder of the results: comparison.json and the report (default: DIR/results, "
        "./comparison, or . for --report); a second call goes on from what is there",
    )
    several.add_argument("--rounds", type=int, metavar="N", help="interleaved rounds (default: 9)")
    several.add_argument("--imgsz", nargs=2, type=int, metavar=("H", "W"), help="default: 360 480")
    several.add_argument("--fresh", action="store_true", help="drop what is there")
    return parser


def bench(arguments: argparse.Namespace) -> int:
    """Measure one engine or several, or make a report, as the arguments say."""
    _check(arguments)
    if arguments.report:
        from segnet_deploy.bench.report import report_file

        print("\n".join(map(str, report_file(arguments.report, arguments.output or "."))))
        return 0
    if arguments.paper or len(arguments.engine) > 1:
        return _compare(arguments)
    from segnet_deploy.bench.run_model import format_table, run_single

    unlimited = arguments.runs is None and arguments.duration is None
    result = run_single(
        Path(arguments.engine[0]),
        arguments.runtime,
        threads=arguments.threads,
        rebuild=rebuild_callback(arguments),
        image=arguments.image,
        runs=RUNS if unlimited else arguments.runs,
        duration=arguments.duration,
        power=arguments.power,
        layers=arguments.layers,
    )
    _write(result, arguments.json, format_table)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from segnet_deploy.bench.comparison import Extras, Settings, compare, files_of_folder
    from segnet_deploy.bench.comparison.table import format_comparison
    from segnet_deploy.bench.report import write_report

    if arguments.paper:
        files = files_of_folder(Path(arguments.paper))
        folder = Path(arguments.output or Path(arguments.paper) / "results")
    else:
        files = [Path(engine) for engine in arguments.engine]
        folder = Path(arguments.output or "comparison")
    settings = Settings(
        arguments.runtime,
        arguments.threads,
        arguments.rounds or ROUNDS,
        arguments.runs or RUNS_PER_ROUND,
        tuple(arguments.imgsz or DEFAULT_SIZE),
        arguments.image,
    )
    comparison = compare(
        files,
        settings,
        folder,
        Extras(layers=arguments.layers, power=arguments.power, rebuild=arguments.rebuild),
        fresh=arguments.fresh,
        judge=bool(arguments.paper),
        progress=lambda text: print(text, file=sys.stderr),
    )
    _write(comparison, arguments.json, format_comparison)
    for path in write_report(comparison, folder):
        print(path, file=sys.stderr)
    return 1 if any(network["error"] for network in comparison["networks"]) else 0


def _write(
    result: dict[str, Any], target: str | None, table: Callable[[dict[str, Any]], str]
) -> None:
    write_result(json.dumps(result, indent=2) + "\n", target, table(result))


def _check(arguments: argparse.Namespace) -> None:
    for name in ("runs", "duration", "threads", "rounds"):
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name} {value}; expected more than 0")
    several = arguments.paper or len(arguments.engine or ()) > 1
    if several and arguments.duration is not None:
        raise UsageError("--duration goes with one engine; give --rounds and --runs")
    for name in ("rounds", "imgsz", "fresh"):
        if getattr(arguments, name) and not several:
            raise UsageError(f"--{name} goes with several engines or --paper")
    if arguments.output and not several and not arguments.report:
        raise UsageError("-o goes with several engines, --paper or --report; give --json FILE")
    for name in ("json", "layers", "power", "runs", "duration", "threads", "image", "rebuild"):
        if arguments.report and getattr(arguments, name):
            raise UsageError(f"--{name} goes with a measurement; --report measures nothing")
    if arguments.imgsz and min(arguments.imgsz) < 1:
        raise UsageError(f"--imgsz {arguments.imgsz}; expected two numbers above 0")


if __name__ == "__main__":
    sys.exit(main())
