"""`segnet-bench`: latency, throughput and memory of exported files on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run, write_result
from segnet_deploy.cli.device import choose_device
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError
from segnet_deploy.types import DEFAULT_SIZE

if TYPE_CHECKING:
    from segnet_deploy.bench.comparison import ComparisonSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> Parser:
    """Return the parser of `segnet-bench`."""
    parser = Parser(
        "segnet-bench",
        "Measure an exported ONNX file or an engine from frame to label map, or "
        "compare several: each in a separate process, in interleaved rounds.",
        exits="0 measured, 1 failed, or one of several networks",
    )
    modes = group(parser, "model").add_mutually_exclusive_group(required=True)
    modes.add_argument(
        "--engine",
        type=options.model_file,
        action="append",
        metavar=options.ENGINE,
        help=f"{options.ENGINE_HELP}; several are compared",
    )
    modes.add_argument(
        "--paper",
        metavar="DIR",
        help="compare a folder of networks (made by benchmarks/paper.py) and judge the claims "
        "of the SegNet paper",
    )
    modes.add_argument(
        "--report", metavar="FILE.json", help="write report.html and report.md from a result"
    )
    options.add_runtime(parser)
    options.add_device(parser)
    group(parser, "input").add_argument(
        "--image", metavar="FILE", help="the frame to use (default: a drawn one)"
    )
    options.add_imgsz(parser)
    options.add_output_folder(
        parser,
        "folder for comparison.json and the report (default: DIR/results, ./comparison, or "
        ". for --report); a second call continues an unfinished comparison",
        required=False,
    )
    options.add_json(parser)
    add = group(parser, "measurement").add_argument
    length = group(parser, "measurement").add_mutually_exclusive_group()
    length.add_argument(
        "--runs", type=int, metavar="N", help="measured runs (default: 30; per round: 2)"
    )
    length.add_argument("--duration", type=float, metavar="S", help="stop after S seconds")
    add("--rounds", type=int, metavar="N", help="interleaved, of several engines (default: 9)")
    add("--layers", action="store_true", help="also measure the time per layer")
    add("--power", action="store_true", help="also measure the energy per frame")
    options.add_fresh(parser)
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Measure one engine or compare several, or write a report."""
    _check(arguments)
    choose_device(arguments)
    if arguments.report:
        return _report(arguments)
    if _is_comparison(arguments):
        return _compare(arguments)
    return _run(arguments)


def _report(arguments: argparse.Namespace) -> int:
    from segnet_deploy.bench.report import report_file

    print("\n".join(map(str, report_file(arguments.report, arguments.output or "."))))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from segnet_deploy.bench.run_model import run_model
    from segnet_deploy.bench.run_table import format_run

    result = run_model(
        arguments.engine[0],
        arguments.runtime,
        threads=arguments.threads,
        rebuild=options.rebuild_callback(arguments),
        image=arguments.image,
        runs=arguments.runs,
        duration=arguments.duration,
        layers=arguments.layers,
        power=arguments.power,
        progress=arguments.progress,
    )
    _write(result, arguments.json, format_run)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from segnet_deploy.bench.comparison import ComparisonExtras, compare, find_network_files
    from segnet_deploy.bench.comparison.table import format_comparison
    from segnet_deploy.bench.report import write_report

    if arguments.paper:
        files = find_network_files(Path(arguments.paper))
        folder = Path(arguments.output or Path(arguments.paper) / "results")
    else:
        files = [Path(engine) for engine in arguments.engine]
        folder = Path(arguments.output or "comparison")
    comparison = compare(
        files,
        _settings(arguments),
        folder,
        ComparisonExtras(layers=arguments.layers, power=arguments.power, rebuild=arguments.rebuild),
        fresh=arguments.fresh,
        judge=bool(arguments.paper),
        progress=arguments.progress,
    )
    _write(comparison, arguments.json, format_comparison)
    for path in write_report(comparison, folder):
        arguments.progress(str(path))
    return 1 if any(network.error for network in comparison.networks) else 0


def _settings(arguments: argparse.Namespace) -> ComparisonSettings:
    from segnet_deploy.bench.comparison import ComparisonSettings

    return ComparisonSettings(
        runtime=arguments.runtime,
        threads=arguments.threads,
        rounds=arguments.rounds or ComparisonSettings.rounds,
        runs=arguments.runs or ComparisonSettings.runs,
        size=tuple(arguments.imgsz or DEFAULT_SIZE),
        image=arguments.image,
    )


def _write(result: Any, target: str | None, table: Callable[[Any], str]) -> None:
    text = json.dumps(result.to_json(), indent=2) + "\n"
    write_result(text, target, table(result))


def _is_comparison(arguments: argparse.Namespace) -> bool:
    return bool(arguments.paper) or len(arguments.engine or ()) > 1


def _check(arguments: argparse.Namespace) -> None:
    """Raise UsageError for values out of range and for options of another mode."""
    options.check_positive(arguments, "runs", "duration", "threads", "rounds")
    several = _is_comparison(arguments)
    if several and arguments.duration is not None:
        raise UsageError("--duration is for one engine; use --rounds and --runs")
    for name in ("rounds", "imgsz", "fresh"):
        if getattr(arguments, name) and not several:
            raise UsageError(f"--{name} needs several engines or --paper")
    if arguments.output and not several and not arguments.report:
        raise UsageError("-o needs several engines, --paper or --report; use --json FILE")
    for name in ("json", "layers", "power", "runs", "duration", "threads", "image", "rebuild"):
        if arguments.report and getattr(arguments, name):
            raise UsageError(f"--{name} needs a measurement; --report only reads a file")
    options.check_size(arguments, "imgsz")


if __name__ == "__main__":
    sys.exit(main())
