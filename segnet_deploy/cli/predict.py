"""`segnet-predict`: classes, overlays and label PNGs of images, folders and videos."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run, write_result
from segnet_deploy.cli.device import choose_device
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError

if TYPE_CHECKING:
    from segnet_deploy.results.result import Result
    from segnet_deploy.results.window import PictureWindow
    from segnet_deploy.segmenter import Segmenter


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> Parser:
    """Return the parser of `segnet-predict`."""
    parser = Parser(
        "segnet-predict",
        "Segment images, folders of images and videos with an exported file.",
        exits="0 all done, 1 an input or the engine failed",
    )
    options.add_engine(parser)
    options.add_runtime(parser)
    options.add_device(parser)
    options.add_source(parser, "images, folders and videos", several=True)
    options.add_fit(parser)
    options.add_output_folder(parser, "folder for labels and overlays", required=False)
    options.add_json(parser, "--save-json")
    options.add_alpha(parser)
    options.add_show(parser)
    output = group(parser, "output")
    output.add_argument("--no-legend", action="store_true", help="leave the legend out")
    output.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write the uncertainty of a file exported with --mc-dropout: a heat map and .npy",
    )
    output.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the dropout masks of such a file (default: 0)",
    )
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Check the options, open the model and segment; return 1 if an input could not be read."""
    from segnet_deploy.files import check_writable
    from segnet_deploy.frames import find_inputs
    from segnet_deploy.prediction import check_folder
    from segnet_deploy.segmenter import load

    arguments.inputs = options.read_sources(arguments, "IMAGES|DIR|VIDEO")
    options.check_alpha(arguments)
    options.check_positive(arguments, "threads")
    if not 0 <= arguments.seed < 2**64:
        raise UsageError(f"--seed {arguments.seed}; expected 0 or more, below 2 ** 64")
    if arguments.uncertainty and arguments.output is None:
        raise UsageError("--uncertainty writes files; say where: -o DIR")
    choose_device(arguments)
    find_inputs(arguments.inputs)  # report a wrong path before loading the model
    if arguments.output is not None:
        check_folder(Path(arguments.output), arguments.inputs)
    if arguments.json not in (None, "-"):
        check_writable(arguments.json)
    window = _open_window() if arguments.show else None
    with (
        contextlib.nullcontext() if window is None else contextlib.closing(window),
        load(
            arguments.engine,
            arguments.runtime,
            arguments.fit,
            arguments.threads,
            options.rebuild_callback(arguments),
            arguments.progress,
        ) as segmenter,
    ):
        arguments.progress(f"{arguments.engine}: {segmenter.engine.name}")
        if segmenter.engine.masks is not None:
            segmenter.engine.masks.seed = arguments.seed
        return _predict(arguments, segmenter, window)


def _predict(
    arguments: argparse.Namespace, segmenter: Segmenter, window: PictureWindow | None
) -> int:
    """Segment, print a line per input, write the JSON; return the exit status."""
    from segnet_deploy.prediction import InputReport, predict_files
    from segnet_deploy.results.coco import CocoDocument

    document = CocoDocument() if arguments.json else None

    def print_line(report: InputReport) -> None:
        if arguments.json != "-":
            arguments.progress.print_result(report.describe())

    def use(result: Result) -> bool:
        if document is not None:
            document.add(result)
        return window is None or _show(window, result, arguments.alpha)

    done = predict_files(
        segmenter,
        arguments.inputs,
        arguments.output,
        alpha=arguments.alpha,
        legend=not arguments.no_legend,
        uncertainty=arguments.uncertainty,
        on_input=print_line,
        on_result=use,
        progress=arguments.progress,
    )
    where = f" into {arguments.output}" if arguments.output else "; -o DIR writes the results"
    text = "" if document is None else document.to_json()
    write_result(text, arguments.json, f"{done.frames} frames segmented{where}")
    if not done.failed:
        return 0
    print(f"error: {len(done.failed)} of {done.inputs} inputs could not be read", file=sys.stderr)
    return 1


def _open_window() -> PictureWindow:
    from segnet_deploy.results.window import PictureWindow

    return PictureWindow("segnet-predict", "leave --show out and look at the files of -o")


def _show(window: PictureWindow, result: Result, alpha: float) -> bool:
    """Show a frame: an image until a key is pressed; return whether to go on."""
    window.show(result.overlay(alpha, with_names=True))
    if result.index is None:
        window.wait()
    return not window.closed


if __name__ == "__main__":
    sys.exit(main())
