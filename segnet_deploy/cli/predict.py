"""`segnet-predict`: overlays and label PNGs of images, folders and videos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError


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
    options.add_output_folder(parser, "folder for the results")
    options.add_alpha(parser)
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
    """Segment every input; return 1 if one could not be read."""
    from segnet_deploy.frames import find_inputs
    from segnet_deploy.prediction import check_folder, predict_files
    from segnet_deploy.segmenter import load

    inputs = options.read_sources(arguments, "IMAGES|DIR|VIDEO")
    options.check_alpha(arguments)
    options.check_positive(arguments, "threads")
    if not 0 <= arguments.seed < 2**64:
        raise UsageError(f"--seed {arguments.seed}; expected 0 or more, below 2 ** 64")
    options.choose_device(arguments)
    find_inputs(inputs)  # report a wrong path before loading the model
    check_folder(Path(arguments.output), inputs)
    with load(
        arguments.engine,
        arguments.runtime,
        arguments.fit,
        arguments.threads,
        options.rebuild_callback(arguments),
        arguments.progress,
    ) as segmenter:
        arguments.progress(f"{arguments.engine}: {segmenter.engine.name}")
        if segmenter.engine.masks is not None:
            segmenter.engine.masks.seed = arguments.seed
        done = predict_files(
            segmenter,
            inputs,
            arguments.output,
            alpha=arguments.alpha,
            legend=not arguments.no_legend,
            uncertainty=arguments.uncertainty,
            progress=arguments.progress,
        )
    print(f"{done.frames} frames segmented into {arguments.output}")
    if done.failed:
        print(
            f"error: {len(done.failed)} of {done.inputs} inputs could not be read", file=sys.stderr
        )
    return 1 if done.failed else 0


if __name__ == "__main__":
    sys.exit(main())
