"""What every command shares: one-line errors and exit statuses."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence

from segnet_deploy.errors import SegNetError, UsageError


def write_result(text: str, target: str | None, table: str) -> None:
    """Write a command's JSON `text` to `target` beside its `table`; '-' is stdout, no table."""
    if target == "-":
        sys.stdout.write(text)
        return
    print(table)
    if target:
        from segnet_deploy.files import atomic_write

        atomic_write(target, text.encode())


def run(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse `argv`, run `command` and return its exit status.

    SegNetError becomes one line on stderr and status 1 (2 for UsageError); `--debug`
    shows the trace. Ctrl-C is status 130.
    """
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")
    arguments = parser.parse_args(argv)
    try:
        return command(arguments) or 0
    except SegNetError as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
