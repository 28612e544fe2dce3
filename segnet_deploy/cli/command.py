"""How every command runs: one-line errors, exit statuses, results on stdout."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence

from segnet_deploy.cli.parser import Parser, add_general_options
from segnet_deploy.cli.progress import TerminalProgress
from segnet_deploy.errors import SegNetError, UsageError

LONGEST_MESSAGE = 2000
BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended


def run(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse `argv`, run `command` and return its exit status.

    The command gets `arguments.progress`, which fits the `progress` of library functions. A
    SegNetError becomes one line on stderr and status 1 (2 for UsageError); `--debug` shows its
    traceback. Ctrl-C is status 130, and a reader of stdout that ended 141.
    """
    if not isinstance(parser, Parser):
        add_general_options(parser)
    arguments = parser.parse_args(argv)
    arguments.progress = TerminalProgress(quiet=arguments.quiet)
    try:
        with _library_messages(shown=arguments.verbose):
            status = command(arguments) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # stdout's reader has ended, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
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
