"""`segnet-triton`: a model repository for Triton Inference Server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.serving import BACKENDS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> Parser:
    """Return the parser of `segnet-triton`."""
    parser = Parser(
        "segnet-triton",
        "Write a model repository for Triton Inference Server, or a new version in it.",
        exits="0 written, 1 failed",
    )
    parser.add_argument(
        "model", type=options.model_file, metavar=options.ENGINE, help=options.ENGINE_HELP
    )
    options.add_runtime(parser)
    options.add_fit(parser)
    options.add_output_folder(parser, "the repository's folder")
    add = group(parser, "output").add_argument
    add("--name", default="segnet", help="of the model (default: segnet)")
    add("--model-version", type=int, metavar="N", help="default: the next one")
    add("--images", action="store_true", help="also a model from image files to label PNGs")
    add = group(parser, "server").add_argument
    add("--backend", choices=BACKENDS, help="default: python; tensorrt for engines")
    add("--instances", type=int, default=1, metavar="N", help="models side by side (default: 1)")
    add("--max-batch", type=int, metavar="N", help="frames per call (default: the file's batch)")
    add(
        "--queue-delay",
        type=float,
        default=0.0,
        metavar="S",
        help="how long to wait for a full batch (default: 0)",
    )
    parser.rename("--batch", "--max-batch")
    return parser


def command(arguments: argparse.Namespace) -> None:
    """Write the repository, and print what the server needs."""
    from segnet_deploy.serving.repository import ServingOptions, write_repository

    options.check_positive(arguments, "threads", "instances", "max_batch", "model_version")
    repository = write_repository(
        arguments.model,
        arguments.output,
        ServingOptions(
            name=arguments.name,
            backend=arguments.backend,
            version=arguments.model_version,
            runtime=arguments.runtime,
            fit=arguments.fit,
            threads=arguments.threads,
            instances=arguments.instances,
            max_batch=arguments.max_batch,
            queue_delay=arguments.queue_delay,
            images=arguments.images,
        ),
        arguments.progress,
    )
    print(f"{repository.folder}: {', '.join(repository.models)}, version {repository.version}")
    for note in repository.notes:
        arguments.progress(f"note: {note}")
    print(f"start it: tritonserver --model-repository={repository.folder}")


if __name__ == "__main__":
    sys.exit(main())
