"""`segnet-export --precision int8`: calibrate, search where asked, gate, report. No torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from segnet_deploy.errors import UsageError
from segnet_deploy.quant import DEFAULT_FRAMES, DEFAULT_METHOD, METHODS

if TYPE_CHECKING:
    from segnet_deploy.accuracy.datasets import Example
    from segnet_deploy.quant.sensitivity import Drop

LABELLED_FRAMES = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of INT8."""
    int8 = parser.add_argument_group("INT8")
    int8.add_argument("--calib", metavar="DIR", help="images of what the net was made for")
    int8.add_argument("--calib-method", choices=METHODS, default=DEFAULT_METHOD)
    int8.add_argument(
        "--calib-frames",
        type=int,
        default=DEFAULT_FRAMES,
        metavar="N",
        help="evenly spread over DIR (default: %(default)s)",
    )
    int8.add_argument(
        "--full-range",
        action="store_true",
        help="weights use all of int8: CPUs without VNNI saturate, GPUs and others do not",
    )
    int8.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="keep as many layers in fp32 as this budget of mIoU needs; with --data",
    )
    int8.add_argument("--data", metavar="DIR", help="labelled frames, none of the calibration's")
    int8.add_argument("--layout", choices=("camvid", "folders", "sunrgbd"), default="folders")
    int8.add_argument("--split", help="CamVid: train, val or test")


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raise UsageError where the options contradict one another."""
    if arguments.precision == "int8" and not arguments.calib:
        raise UsageError("--precision int8 needs --calib DIR, images of what the net was made for")
    if arguments.precision != "int8":
        given = {
            "--calib": arguments.calib,
            "--calib-method": arguments.calib_method != DEFAULT_METHOD,
            "--calib-frames": arguments.calib_frames != DEFAULT_FRAMES,
            "--full-range": arguments.full_range,
            "--max-drop": arguments.max_drop is not None,
        }
        for name, value in given.items():
            if value:
                raise UsageError(f"{name} goes with --precision int8")
    if arguments.max_drop is not None and not arguments.data:
        raise UsageError("--max-drop needs --data DIR with labelled frames")
    if arguments.max_drop is not None and not 0 <= arguments.max_drop <= 100:
        raise UsageError(f"--max-drop {arguments.max_drop:g}; expected 0 to 100 points of mIoU")
    if arguments.data and arguments.precision != "int8":
        raise UsageError("--data goes with --precision int8; segnet-eval judges any file")


def quantise(arguments: argparse.Namespace, source: Path, target: Path) -> None:
    """Write the INT8 file of the fp32 file `source`, and report. Raises SegNetError: no file."""
    from segnet_deploy.accuracy.agreement import LEAST, format_agreement
    from segnet_deploy.accuracy.datasets import find_examples
    from segnet_deploy.quant.quantiser import Quantiser, read_calibration, spread
    from segnet_deploy.quant.sensitivity import Remembered, measure_drop, meet_budget
    from segnet_deploy.segmenter import load

    frames = read_calibration(Path(arguments.calib), arguments.calib_frames)
    examples: list[Example] = []
    if arguments.data:
        found = find_examples(Path(arguments.data), arguments.layout, arguments.split)
        examples = spread(found, LABELLED_FRAMES)
        with load(source) as opened:
            count = len(opened.metadata.classes)
        for example in examples:  # before the long part
            example.pair(count)
    quantiser = Quantiser(source, frames, arguments.calib_method, arguments.full_range)
    tensorrt = arguments.target_runtime == "tensorrt"
    keep: tuple[str, ...] = ()
    drops: list[Drop] = []
    if examples:
        with Remembered(source) as fp32:
            if arguments.max_drop is not None:
                budget = arguments.max_drop / 100
                keep, drops = meet_budget(
                    quantiser, examples, budget, arguments.form, fp32, tensorrt
                )
            else:
                drops = measure_drop(quantiser, examples, arguments.form, fp32, (), tensorrt)
    least = LEAST["int8"] if arguments.min_agreement is None else arguments.min_agreement
    done = quantiser.quantise(target, arguments.form, least, keep, tensorrt)
    print(format_agreement(done.agreement, "int8"))
    for drop in drops:
        print(_describe(drop, len(examples)))
    for name in done.kept:
        print(f"kept in fp32: {name}")
    print(
        f"{target}: {arguments.form} form, int8{' for TensorRT' if tensorrt else ''}, {done.int8} "
        f"convolutions, {len(frames)} calibration frames ({arguments.calib_method}), "
        f"{target.stat().st_size / 1e6:.1f} MB, gate passed"
    )


def _describe(drop: Drop, frames: int) -> str:
    from segnet_deploy.accuracy.evaluate import class_losses

    for loss in class_losses(drop.result):
        print(f"warning: {drop.runtime}: {loss}", file=sys.stderr)
    before, after = drop.result["against"]["mean_iou"], drop.result["mean_iou"]
    return (
        f"{drop.runtime}: mIoU {100 * after:.2f} (fp32 {100 * before:.2f}) on {frames} labelled "
        f"frames, {drop.result['agreement']:.2%} of the labels kept"
    )
