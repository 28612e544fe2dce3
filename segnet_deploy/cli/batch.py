"""`segnet-batch`: segment an archive, on a Ray cluster or on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segnet_deploy.batch import FORMATS
from segnet_deploy.cli import options
from segnet_deploy.cli.command import run
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError

if TYPE_CHECKING:
    from segnet_deploy.batch.segment_archive import BatchOptions


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> Parser:
    """Return the parser of `segnet-batch`."""
    parser = Parser(
        "segnet-batch",
        "Segment an archive: images, videos, WebDataset tars and Parquet files. "
        "A run that was interrupted goes on when the command is repeated.",
        exits="0 all done, 1 an input or the engine failed",
    )
    options.add_engine(parser)
    options.add_runtime(parser, threads="this machine's CPUs / --workers")
    options.add_batch(parser)
    options.add_source(parser, "files, folders and patterns", several=True)
    add = group(parser, "input").add_argument
    add(
        "--image-column",
        default="image",
        metavar="NAME",
        help="of Parquet inputs (default: image)",
    )
    options.add_fit(parser)
    options.add_output_folder(parser, "folder for the results, or its URI", required=False)
    add = group(parser, "output").add_argument
    add("--format", choices=FORMATS, default="parquet", help="of the results (default: parquet)")
    add("--stats-only", action="store_true", help="pixels per class only, no label maps")
    add("--shard-size", type=int, default=256, metavar="N", help="images per shard (default: 256)")
    add("--dry-run", action="store_true", help="count the inputs and estimate the time")
    add = group(parser, "workers").add_argument
    add("--workers", type=int, default=1, metavar="N", help="more than 1 need Ray (default: 1)")
    add(
        "--gpus-per-worker",
        type=float,
        default=0.0,
        metavar="N",
        help="may be a fraction (default: 0)",
    )
    add("--address", metavar="HOST:PORT", help="of a running Ray cluster (default: a local one)")
    add("--no-ray", action="store_true", help="run in this process, also if Ray is installed")
    parser.rename("--input", "--source")
    parser.rename("--threads-per-worker", "--threads")
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Segment the archive; return 1 if an input could not be read."""
    from segnet_deploy.batch.segment_archive import segment_archive
    from segnet_deploy.batch.storage import plain

    names = ("workers", "threads", "batch", "shard_size")
    options.check_positive(arguments, *names)
    sources = options.read_sources(arguments, "DIR")
    settings = _settings(arguments)
    if arguments.dry_run:
        return _estimate(arguments, sources, settings)
    if arguments.output is None:
        raise UsageError("-o URI is missing; it is only optional with --dry-run")
    done = segment_archive(
        arguments.engine,
        sources,
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
        threads=arguments.threads,
        gpus=arguments.gpus_per_worker,
        batch=arguments.batch,
        shard_size=arguments.shard_size,
        runtime=arguments.runtime,
        fit=arguments.fit,
        image_column=arguments.image_column,
        address=arguments.address,
        use_ray=False if arguments.no_ray else None,
    )


def _estimate(arguments: argparse.Namespace, sources: list[str], settings: BatchOptions) -> int:
    from segnet_deploy.batch.estimate import estimate

    found = estimate(arguments.engine, sources, settings, progress=arguments.progress)
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
