"""`segnet-completion`: complete the options and files of every command in a shell."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from segnet_deploy.cli.command import run
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.optional import require

# Shell -> the name of the file from which it loads the completions of a command.
FILE_NAMES = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> Parser:
    """Return the parser of `segnet-completion`."""
    parser = Parser(
        "segnet-completion",
        "Print or write what a shell needs to complete the options of every segnet command.",
        exits="0 done, 1 a file could not be written",
        epilog='in a startup file: eval "$(segnet-completion bash)".',
    )
    parser.add_argument("shell", choices=FILE_NAMES, help="the shell")
    group(parser, "output").add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="write one file per command there, which the shell loads when it needs it "
        "(default: print them all)",
    )
    return parser


def command(arguments: argparse.Namespace) -> None:
    """Print the completions of every installed command, or write them."""
    modules = installed_commands()
    scripts = {name: complete(modules[name], arguments.shell) for name in sorted(modules)}
    if not arguments.output:
        print("\n".join(scripts.values()))
        return
    from segnet_deploy.files import atomic_write, make_folder

    folder = Path(arguments.output)
    make_folder(folder)
    for name, script in scripts.items():
        atomic_write(folder / FILE_NAMES[arguments.shell].format(name), script.encode())
    print(f"{folder}: completions of {len(scripts)} commands for {arguments.shell}")


def installed_commands() -> dict[str, str]:
    """Return the module of each command that was installed with this package."""
    from importlib import metadata

    points = metadata.distribution("segnet-deploy").entry_points
    return {p.name: p.module for p in points if p.group == "console_scripts"}


def complete(module: str, shell: str) -> str:
    """Return the completions of the command in `module`, for bash, zsh or fish.

    Options complete to their choices, or to files if they take any text. Raises
    MissingDependencyError without shtab.
    """
    shtab = require("shtab")
    parser = importlib.import_module(module).build_parser()
    for action in parser._actions:
        if action.choices:
            action.choices = tuple(action.choices)  # shtab reads a mapping as subcommands
        elif action.nargs != 0 and action.type not in (int, float):
            action.complete = shtab.FILE
    return str(shtab.complete(parser, shell))


if __name__ == "__main__":
    sys.exit(main())
