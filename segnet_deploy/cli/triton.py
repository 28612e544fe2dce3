"""`segnet-triton`: a model repository for Triton Inference Server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run
from segnet_deploy.runtimes.base import CHOICES
from segnet_deploy.serving import BACKENDS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-triton`."""
    parser = argparse.ArgumentParser(
        prog="segnet-triton",
        description="Write a model repository for Triton Inference Server, or a new version in it.",
        epilog="exit status: 0 written, 1 failed, 2 wrong usage",
    )
    add = parser.add_argument
    add("model", help="an .onnx file, or an engine of segnet-build")
    add("-o", "--output", required=True, metavar="REPO", help="the repository's folder")
    add("--name", default="segnet", help="of the model (default: segnet)")
    add("--model-version", type=int, metavar="N", help="default: the next one")
    add("--backend", choices=BACKENDS, help="default: python; tensorrt for engines")
    add("--runtime", choices=CHOICES, default="auto", help="in the Python backend")
    add("--threads", type=int, help="CPU threads per instance (default: the runtime's choice)")
    options.add_fit(parser)
    add("--instances", type=int, default=1, help="models side by side (default: 1)")
    add("--batch", type=int, help="most frames per call (default: the file's batch)")
    add("--queue-delay", type=float, default=0.0, metavar="S", help="to collect a batch (0)")
    add("--images", action="store_true", help="also a model from image files to label PNGs")
    return parser


def command(arguments: argparse.Namespace) -> None:
    """Write the repository, and print what the server needs."""
    from segnet_deploy.serving.repository import ServingOptions, write_repository

    options.check_positive(arguments, "threads", "instances", "batch", "model_version")
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
            max_batch=arguments.batch,
            queue_delay=arguments.queue_delay,
            images=arguments.images,
        ),
        arguments.progress,
    )
    print(f"{repository.folder}: {', '.join(repository.models)}, version {repository.version}")
    for note in repository.notes:
        print(f"note: {note}")
    print(f"start it: tritonserver --model-repository={repository.folder}")


if __name__ == "__main__":
    sys.exit(main())
