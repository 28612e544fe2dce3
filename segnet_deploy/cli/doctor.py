"""`segnet-doctor`: what works on this machine, what does not, what to install; what a file is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run, write_result
from segnet_deploy.cli.parser import Parser
from segnet_deploy.runtimes.base import ONNX_RUNTIMES, RUNTIMES
from segnet_deploy.schemas import head

if TYPE_CHECKING:
    from segnet_deploy.runtimes.diagnosis import Check


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> Parser:
    """Return the parser of `segnet-doctor`."""
    parser = Parser(
        "segnet-doctor",
        "Report what works on this machine, what does not, and what to install; or what a model "
        "file contains, and which runtimes open it here.",
        exits="0 a model, or the file, can run here, 1 no runtime works",
    )
    parser.add_argument(
        "file", nargs="?", metavar=options.ENGINE, help="the file (default: the machine)"
    )
    options.add_json(parser)
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Print every finding; return 1 if no runtime works."""
    from segnet_deploy import __version__
    from segnet_deploy.runtimes.diagnosis import examine
    from segnet_deploy.runtimes.file_diagnosis import examine_file

    checks = examine() if arguments.file is None else examine_file(arguments.file)
    runtimes = ONNX_RUNTIMES if arguments.file is None else tuple(RUNTIMES)
    works = any(check.name in runtimes and check.state == "ok" for check in checks)
    found = {"version": __version__, "works": works, "checks": [vars(check) for check in checks]}
    text = json.dumps({**head("doctor"), **found}, indent=2) + "\n"
    write_result(text, arguments.json, format_checks(checks))
    return 0 if works else 1


def format_checks(checks: Sequence[Check]) -> str:
    """Return one line per finding, with its advice below it."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:8}{check.name:{width}}  {check.detail}".rstrip())
        if check.advice:
            lines.append(f"{'':8}{'':{width}}  -> {check.advice}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
