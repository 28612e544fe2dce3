"""The options of `segnet-export --precision int8`, and which of them contradict one another."""

from __future__ import annotations

import argparse

from segnet_deploy.cli.options import add_calibration
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError
from segnet_deploy.quant import DEFAULT_FRAMES, DEFAULT_METHOD, METHODS


def add_int8_options(parser: Parser) -> None:
    """Add the options of INT8."""
    add_calibration(parser)
    add = group(parser, "INT8").add_argument
    add(
        "--calib-method",
        choices=METHODS,
        default=DEFAULT_METHOD,
        help="how the ranges of values are found (default: %(default)s)",
    )
    add(
        "--full-range",
        action="store_true",
        help="let weights use all of int8, which saturates on CPUs without VNNI",
    )


def check_int8_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError if the options contradict one another."""
    if arguments.precision == "int8" and not arguments.calib:
        raise UsageError("--precision int8 needs --calib DIR, images like those of the training")
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
                raise UsageError(f"{name} requires --precision int8")
    if arguments.max_drop is not None and not arguments.data:
        raise UsageError("--max-drop needs --data DIR with labelled frames")
    if arguments.max_drop is not None and not 0 <= arguments.max_drop <= 100:
        raise UsageError(f"--max-drop {arguments.max_drop:g}; expected 0 to 100 points of mIoU")
    if arguments.data and arguments.precision != "int8":
        raise UsageError("--data requires --precision int8; segnet-eval evaluates any file")
