"""`segnet-tune`: the fastest file and runtime for this device within an accuracy budget."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run, write_result
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import EngineError, InputError, UsageError
from segnet_deploy.runtimes.base import ONNX_RUNTIMES

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; what follows -- is for segnet-export."""
    given = list(sys.argv[1:] if argv is None else argv)
    end = given.index("--") if "--" in given else len(given)
    parser = build_parser()
    parser.set_defaults(export_options=given[end + 1 :])
    return run(parser, command, given[:end])


def build_parser() -> Parser:
    """Return the parser of `segnet-tune`."""
    parser = Parser(
        "segnet-tune",
        "Find the fastest file and runtime for this device within an accuracy budget.",
        exits="0 found, 1 failed, 130 interrupted (the same call goes on)",
        epilog="after --, options of segnet-export for a checkpoint: segnet-tune model.pt --data "
        "DIR -o OUT -- --rgb --mean 0 0 0 --std 255 255 255.",
    )
    parser.add_argument(
        "model",
        type=options.model_file,
        help="a checkpoint, an fp32 .onnx file, or a pretrained network: demo, street",
    )
    group(parser, "model").add_argument(
        "--runtime", action="append", choices=ONNX_RUNTIMES, help="only this; can be repeated"
    )
    options.add_threads(parser)
    options.add_output_folder(parser, "folder for the file and the report")
    options.add_json(parser)
    options.add_data(parser)
    group(parser, "labelled frames").add_argument(
        "--frames", type=int, default=60, metavar="N", help="to judge on (default: 60)"
    )
    add = group(parser, "measurement").add_argument
    add("--all", action="store_true", help="judge also what is too slow to be chosen")
    options.add_fresh(parser)
    options.add_calibration(parser)
    options.add_max_drop(parser, default=0.5)
    add = group(parser, "limits").add_argument
    add(
        "--min-agreement",
        type=float,
        metavar="SHARE",
        help="of the fp32 labels, 0 to 1 (default: none with --data, else 0.95)",
    )
    add("--max-memory", metavar="SIZE", help="of the process, such as 500MB")
    return parser


def command(arguments: argparse.Namespace) -> None:
    """Search, print the table, and say where the file is."""
    import json

    from segnet_deploy.files import check_writable, make_folder
    from segnet_deploy.tuning.settings import TuneSettings
    from segnet_deploy.tuning.table import format_result
    from segnet_deploy.tuning.tune import tune

    _check(arguments)
    if arguments.json and arguments.json != "-":
        check_writable(arguments.json)
    settings = TuneSettings(
        calibration=arguments.calib,
        data=arguments.data,
        layout=arguments.layout,
        split=arguments.split,
        frames=arguments.frames,
        calibration_frames=arguments.calib_frames,
        max_drop=arguments.max_drop / 100,
        min_agreement=arguments.min_agreement,
        max_memory=parse_bytes(arguments.max_memory),
        threads=arguments.threads,
        runtimes=tuple(arguments.runtime or ()),
        exhaustive=arguments.all,
    )
    folder = Path(arguments.output)
    make_folder(folder)
    source = _exported(arguments, folder)
    result = tune(source, folder, settings, fresh=arguments.fresh, progress=arguments.progress)
    text = json.dumps(result.to_json(), indent=1) + "\n"
    write_result(text, arguments.json, format_result(result))
    if arguments.json != "-":
        print(f"\n{folder / result.file}: {result.chosen}; report: {folder / 'report.html'}")


def parse_bytes(text: str | None) -> int | None:
    """Return the bytes of a size such as 500MB or 1.5GB; MB is 1e6 bytes. Raises UsageError."""
    if text is None:
        return None
    digits = text.upper().rstrip("KMGB")
    try:
        size = int(float(digits) * _UNITS[text.upper()[len(digits) :]])
    except (KeyError, ValueError, OverflowError):
        size = 0
    if size < 1:
        raise UsageError(f"--max-memory {text}; expected a size such as 500MB or 1.5GB")
    return size


def _check(arguments: argparse.Namespace) -> None:
    options.check_positive(arguments, "threads", "frames", "calib_frames")
    if not (arguments.data or arguments.calib):
        raise UsageError("give --data (labelled frames), --calib (images), or both")
    if not 0 <= arguments.max_drop <= 100:
        raise UsageError(f"--max-drop {arguments.max_drop}; expected points from 0 to 100")
    if arguments.min_agreement is not None and not 0 <= arguments.min_agreement <= 1:
        raise UsageError(f"--min-agreement {arguments.min_agreement}; expected 0 to 1")
    if arguments.export_options and arguments.model.endswith(".onnx"):
        raise UsageError(
            f"{' '.join(arguments.export_options)}: options of segnet-export need a checkpoint"
        )
    if not Path(arguments.model).is_file():
        raise InputError(f"no such file: {arguments.model}")


def _exported(arguments: argparse.Namespace, folder: Path) -> Path:
    """Return the fp32 ONNX file; a checkpoint is exported by segnet-export, which has torch."""
    source = Path(arguments.model)
    if source.suffix == ".onnx":
        return source
    target = folder / "fp32.onnx"
    if target.is_file() and not arguments.fresh and target.stat().st_mtime > source.stat().st_mtime:
        return target
    arguments.progress(f"exporting {source}")
    command = [sys.executable, "-m", "segnet_export.cli", str(source), "-o", str(target)]
    done = subprocess.run(
        [*command, *arguments.export_options],
        stdout=subprocess.DEVNULL if arguments.quiet else sys.stderr,
        check=False,
    )
    if done.returncode:
        raise EngineError(
            f"{source} was not exported (see above); try: segnet-export {source} -o {target} "
            f"{' '.join(arguments.export_options)}".rstrip()
        )
    return target


if __name__ == "__main__":
    sys.exit(main())
