"""Does Table 6 of the SegNet paper hold on this machine?

    python benchmarks/paper.py -o out/paper [--backward]

Exports the networks that the paper compares, with seeded weights (time and memory do not depend
on them), measures them as `segnet-bench --paper` does, judges the claims and writes a report.
Existing results are kept; the same command continues an interrupted run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import options
from harness.child import ask_child
from harness.measurement import report_left_out
from segnet_deploy.bench.comparison import ComparisonExtras, ComparisonSettings, compare
from segnet_deploy.bench.comparison.document import FILE_NAME
from segnet_deploy.bench.comparison.table import format_comparison
from segnet_deploy.bench.paper import TITLES
from segnet_deploy.bench.report import write_report
from segnet_deploy.bench.result import Comparison
from segnet_deploy.cli import command
from segnet_deploy.errors import InputError, SegNetError, UsageError
from segnet_deploy.files import atomic_write, make_folder
from segnet_deploy.runtimes.base import CHOICES
from segnet_deploy.types import DEFAULT_SIZE, Size

TABLE_6 = ("segnet", "fcn-8s", "deeplab-largefov", "deconvnet", "unet")
TABLE_1 = tuple(name for name in TITLES if "basic" in name or "bilinear" in name)
SETS = {"table6": TABLE_6, "table1": TABLE_1, "all": tuple(TITLES)}
ORIGINAL_SIZE: Size = (224, 224)  # of the networks named -original, whose layers fix it
TRAINING_RUNS = 3


def in_fresh_process(task: str, **arguments: Any) -> Any:
    """Run a task of harness/paper_networks.py in a fresh process. Raises EngineError."""
    return ask_child("harness.paper_networks", task, **arguments)


def export_all(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """Export the networks that are missing or were exported with other options; return all files.

    A network that fails is reported and left out. Raises InputError if all fail.
    """
    make_folder(folder)
    record = folder / "exports.json"
    exported = json.loads(record.read_text()) if record.is_file() else {}
    paths = []
    for name in arguments.networks:
        path, wanted = folder / f"{name}.onnx", _export_options(name, arguments)
        before = {"full_gate": False} | exported.get(name, {})
        if not path.is_file() or before not in (wanted, wanted | {"full_gate": True}):
            try:
                _export(name, path, wanted, arguments)
            except SegNetError as error:
                report_left_out(name, error, arguments.progress)
                continue
            exported[name] = wanted
            atomic_write(record, (json.dumps(exported, indent=1) + "\n").encode())
        paths.append(path)
    if not paths:
        raise InputError("no network could be exported; the reasons are above")
    return paths


def _export_options(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what an existing file must have been exported with to be used again."""
    size = arguments.imgsz or (ORIGINAL_SIZE if name.endswith("original") else DEFAULT_SIZE)
    return {
        "classes": arguments.num_classes,
        "size": list(size),
        "width": arguments.width,
        "full_gate": arguments.full_gate,
    }


def _export(name: str, path: Path, wanted: dict[str, Any], arguments: argparse.Namespace) -> None:
    arguments.progress(f"{name}: exporting")
    started = time.perf_counter()
    table = in_fresh_process(
        "export",
        name=name,
        path=str(path),
        classes=wanted["classes"],
        size=wanted["size"],
        width=wanted["width"],
        runtime=arguments.runtime,
        adversarial=wanted["full_gate"],
    )
    seconds = time.perf_counter() - started
    arguments.progress(f"{table}\n{path}: gate passed, {seconds:.0f} s")


def add_backward(arguments: argparse.Namespace, comparison: Comparison, folder: Path) -> None:
    """Add the cost of training to each network; save after each."""
    path = folder / FILE_NAME
    for network in comparison.networks:
        if network.backward or network.error or network.input is None:
            continue
        name = network.name
        arguments.progress(f"{name}: backward pass and training memory in PyTorch")
        try:
            network.backward = in_fresh_process(
                "training_cost",
                name=Path(network.engine).stem,
                classes=arguments.num_classes,
                size=list(network.input[2:4]),
                width=arguments.width,
                threads=arguments.threads,
                runs=TRAINING_RUNS,
            )
        except SegNetError as error:
            report_left_out(name, error, arguments.progress)
            continue
        content: dict[str, Any] = json.loads(path.read_text())  # with networks of other calls
        for record in content["networks"]:
            if record["engine"] == network.engine:
                record["backward"] = network.backward
        atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = options.new_parser(__doc__)
    add = parser.add_argument
    add("-o", "--output", type=Path, default=Path("out/paper"), metavar="DIR")
    add(
        "--networks",
        nargs="+",
        default=["table6"],
        metavar="NAME",
        help=f"names of segnet-export --arch, or {', '.join(SETS)} (default: Table 6 and U-Net)",
    )
    add("--runtime", default="onnxruntime", choices=CHOICES, help="default: onnxruntime")
    options.add_measurement(parser, rounds=9)
    add("--runs", type=int, default=2, help="timed calls per round (default: 2)")
    add("--num-classes", type=int, default=11, help="default: 11")
    add("--imgsz", nargs=2, type=int, metavar=("H", "W"), help="default: 360 480")
    add("--width", type=int, default=64, help="channels of the first stage (default: 64)")
    add("--backward", action="store_true", help="also measure training, in PyTorch")
    add("--layers", action="store_true", help="also measure the time per layer")
    add("--power", action="store_true", help="also measure the energy per frame")
    add("--export-only", action="store_true", help="for segnet-bench --paper on a device")
    add("--full-gate", action="store_true", help="also run the parity gate on constructed ties")
    add("--fresh", action="store_true", help="discard earlier results")
    return parser


def paper(arguments: argparse.Namespace) -> int:
    """Export, measure, judge and report; return the exit status."""
    named = [name for word in arguments.networks for name in SETS.get(word, (word,))]
    arguments.networks = list(dict.fromkeys(named))
    if unknown := [name for name in arguments.networks if name not in TITLES]:
        raise UsageError(f"--networks {unknown[0]}; expected {', '.join([*SETS, *TITLES])}")
    files = export_all(arguments, arguments.output / "networks")
    left_out = len(files) < len(arguments.networks)
    if arguments.export_only:
        return int(left_out)
    comparison = compare(
        files,
        ComparisonSettings(
            arguments.runtime,
            arguments.threads,
            arguments.rounds,
            arguments.runs,
            tuple(arguments.imgsz or DEFAULT_SIZE),
        ),
        arguments.output,
        ComparisonExtras(layers=arguments.layers, power=arguments.power),
        fresh=arguments.fresh,
        judge=True,
        progress=arguments.progress,
    )
    if arguments.backward:
        add_backward(arguments, comparison, arguments.output)
    print(format_comparison(comparison))
    for path in write_report(comparison, arguments.output):
        arguments.progress(str(path))
    return int(left_out or any(network.error for network in comparison.networks))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), paper, argv)


if __name__ == "__main__":
    sys.exit(main())
