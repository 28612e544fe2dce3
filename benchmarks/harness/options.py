"""Command-line options that several programs share."""

from __future__ import annotations

import argparse

from segnet_deploy.cli.options import add_imgsz
from segnet_deploy.types import DEFAULT_SIZE


def new_parser(documentation: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows the first line of a program's docstring: its question."""
    return argparse.ArgumentParser(description=(documentation or "").splitlines()[0])


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add --imgsz H W."""
    add_imgsz(parser)
    parser.set_defaults(imgsz=list(DEFAULT_SIZE))


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add --checkpoint."""
    parser.add_argument("--checkpoint", metavar="M.pt", help="default: random weights of seed 0")


def add_measurement(
    parser: argparse.ArgumentParser, threads: int | None = None, rounds: int = 5
) -> None:
    """Add --threads and --rounds; `threads` None leaves the number to the runtime."""
    default = "the runtime's choice" if threads is None else threads
    parser.add_argument(
        "--threads", type=int, default=threads, help=f"CPU threads (default: {default})"
    )
    parser.add_argument(
        "--rounds", type=int, default=rounds, help=f"timed rounds (default: {rounds})"
    )


def add_clock(parser: argparse.ArgumentParser) -> None:
    """Add --clock, a key of harness.measurement.CLOCKS."""
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time, for a machine with other users; best with --threads 1",
    )


def add_result(parser: argparse.ArgumentParser) -> None:
    """Add --json FILE."""
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON")
