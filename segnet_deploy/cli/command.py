"""What every command shares: its switches, one-line errors and exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence

from segnet_deploy.cli.progress import TerminalProgress
from segnet_deploy.errors import SegNetError, UsageError

LONGEST_MESSAGE = 2000


class _Version(argparse.Action):
    """Print the version; it is read only if asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from segnet_deploy import __version__

        print(f"{parser.prog} {__version__}")
        parser.exit()


def run(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse `argv`, run `command` and return its exit status.

    The command gets `arguments.progress`, which fits the `progress` of library functions. A
    SegNetError becomes one line on stderr and status 1 (2 for UsageError); `--debug` shows its
    traceback. Ctrl-C is status 130.
    """
    add_common_options(parser)
    arguments = parser.parse_args(argv)
    arguments.progress = TerminalProgress(quiet=arguments.quiet)
    try:
        with _library_messages(shown=arguments.verbose):
            return command(arguments) or 0
    except SegNetError as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"error: {shorten(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except MemoryError as error:
        print(f"error: out of memory ({error}); use a smaller file or input", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        arguments.progress.close()


def shorten(message: str) -> str:
    """Return `message` in one line, without the middle if it quotes a very long value."""
    line = " ".join(message.split())
    half = LONGEST_MESSAGE // 2
    if len(line) <= LONGEST_MESSAGE:
        return line
    return f"{line[:half]} ({len(line) - 2 * half} characters left out) {line[-half:]}"


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the switches that every command has."""
    add = parser.add_argument
    add("--version", action=_Version, nargs=0, help="print the version and exit")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "-v", "--verbose", action="store_true", help="also show messages of the libraries"
    )
    group.add_argument("-q", "--quiet", action="store_true", help="show no progress or notes")
    add("--debug", action="store_true", help="show the traceback of an error")


@contextlib.contextmanager
def _library_messages(shown: bool) -> Iterator[None]:
    """Keep the warnings of other libraries off the screen, or show them and their logs."""
    with warnings.catch_warnings():
        if shown:
            logging.basicConfig(level=logging.INFO)
        else:
            warnings.simplefilter("ignore")
        yield


def write_result(text: str, target: str | None, table: str) -> None:
    """Print `table` and write the JSON `text` to `target`; - is stdout, without the table."""
    if target == "-":
        sys.stdout.write(text)
        return
    print(table)
    if target:
        from segnet_deploy.files import atomic_write

        atomic_write(target, text.encode())
