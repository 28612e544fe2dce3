"""`segnet-batch`: segment an archive, on a Ray cluster or on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segnet_deploy.batch import FORMATS
from segnet_deploy.cli import options
from segnet_deploy.cli.command import run
from segnet_deploy.errors import UsageError
from segnet_deploy.runtimes.base import CHOICES

if TYPE_CHECKING:
    from segnet_deploy.batch.segment_archive import BatchOptions


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-batch`."""
    parser = argparse.ArgumentParser(
        prog="segnet-batch",
        description="Segment an archive: images, videos, WebDataset tars and Parquet files. "
        "A run that was interrupted goes on when the command is repeated.",
        epilog="exit status: 0 all done, 1 an input or the engine failed, 2 wrong usage",
    )
    add = parser.add_argument
    options.add_engine(parser)
    add("--input", required=True, nargs="+", metavar="URI", help="file, folder or pattern")
    add("-o", "--output", metavar="URI", help="folder for results")
    add("--format", choices=FORMATS, default="parquet", help="of the results (default: parquet)")
    add("--stats-only", action="store_true", help="pixels per class only, no label maps")
    add("--workers", type=int, default=1, metavar="N", help="default: 1; more need Ray")
    add("--threads-per-worker", type=int, metavar="N", help="default: this machine's CPUs / N")
    add("--gpus-per-worker", type=float, default=0.0, metavar="N", help="may be a fraction")
    add("--batch", type=int, default=1, metavar="N", help="frames per call of the engine (1)")
    add("--shard-size", type=int, default=256, metavar="N", help="images per shard (256)")
    add("--image-column", default="image", metavar="NAME", help="of Parquet inputs (image)")
    add("--address", metavar="HOST:PORT", help="of a running Ray cluster; default: a local one")
    add("--no-ray", action="store_true", help="run in this process, also if Ray is installed")
    add("--dry-run", action="store_true", help="count the inputs and estimate the time")
    add("--runtime", choices=CHOICES, default="auto", help="for ONNX files")
    options.add_fit(parser)
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Segment the archive; return 1 if an input could not be read."""
    from segnet_deploy.batch.segment_archive import segment_archive
    from segnet_deploy.batch.storage import plain

    names = ("workers", "threads_per_worker", "batch", "shard_size")
    options.check_positive(arguments, *names)
    settings = _settings(arguments)
    if arguments.dry_run:
        return _estimate(arguments, settings)
    if arguments.output is None:
        raise UsageError("-o URI is missing; it is only optional with --dry-run")
    done = segment_archive(
        arguments.engine,
        arguments.input,
        arguments.output,
        settings,
        progress=arguments.progress,
    )
    print(
        f"{done.frames} frames segmented into {plain(arguments.output)}: {done.shards} shards in "
        f"{done.seconds:.1f} s, {done.skipped} completed before"
    )
    if done.errors:
        print(
            f"error: {len(done.errors)} inputs could not be read; they are listed in errors.csv",
            file=sys.stderr,
        )
    return 1 if done.errors else 0


def _settings(arguments: argparse.Namespace) -> BatchOptions:
    from segnet_deploy.batch.segment_archive import BatchOptions

    return BatchOptions(
        form=arguments.format,
        with_labels=not arguments.stats_only,
        workers=arguments.workers,
        threads=arguments.threads_per_worker,
        gpus=arguments.gpus_per_worker,
        batch=arguments.batch,
        shard_size=arguments.shard_size,
        runtime=arguments.runtime,
        fit=arguments.fit,
        image_column=arguments.image_column,
        address=arguments.address,
        use_ray=False if arguments.no_ray else None,
    )


def _estimate(arguments: argparse.Namespace, settings: BatchOptions) -> int:
    from segnet_deploy.batch.estimate import estimate

    found = estimate(arguments.engine, arguments.input, settings, progress=arguments.progress)
    low, middle, high = found.seconds_per_frame
    print(f"{'' if found.is_exact else 'about '}{found.inputs} inputs in {found.shards} shards")
    print(
        f"{middle:.3g} s a frame ({low:.3g} to {high:.3g}, quartiles of {found.sample} calls), "
        f"about {_duration(found.seconds)} with {found.workers} workers"
    )
    return 0


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


if __name__ == "__main__":
    sys.exit(main())
