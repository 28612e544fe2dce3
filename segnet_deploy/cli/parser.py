"""The parser of every command: general options, groups in one order, errors of one line."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from segnet_deploy.cli.foreign_options import closest_option, translate

GENERAL = "general"
# The order of groups in every --help; those of one command only are before the last one.
GROUPS = (
    *("model", "input", "what the model was trained on", "output", "labelled frames"),
    *("measurement", "INT8", "limits"),
)
_NUMBER = re.compile(r"-\.?\d")
_SIZE = re.compile(r"(\d+)(?:x(\d+))?", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """A parser with the general options, whose errors are one line with the next command.

    `exits` says what the exit statuses 0 and 1 mean; 2 is wrong usage everywhere. An option that
    does not exist is an error that names the closest one, or this project's word for another
    tool's option.
    """

    def __init__(self, prog: str, description: str, exits: str, epilog: str = ""):
        ending = f"{epilog} exit status: {exits}, 2 wrong usage".strip()
        super().__init__(
            prog=prog, description=description, epilog=ending, add_help=False, allow_abbrev=False
        )
        self._renamed: dict[str, str] = {}
        self._sizes: set[str] = set()
        add_general_options(self)

    def rename(self, old: str, new: str) -> None:
        """Go on accepting the option `old` for `new`, without showing it."""
        self._renamed[old] = new

    def read_as_size(self, option: str) -> None:
        """Let `option`, which takes H W, also take HxW and one number, the side of a square."""
        self._sizes.add(option)

    def parse_args(  # type: ignore[override]  # argparse declares overloads for namespaces
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Parse `args`. Exits with status 2 and one line on stderr if they are wrong."""
        words = list(sys.argv[1:] if args is None else args)
        if not {"-h", "--help", "--version"} & set(words):
            self._refuse_unknown(words)
        parsed: argparse.Namespace = super().parse_args(words, namespace)
        return parsed

    def parse_known_args(  # type: ignore[override]  # as above
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse what is known of `args`, with earlier names and other forms of sizes replaced."""
        words = list(sys.argv[1:] if args is None else args)
        known: tuple[argparse.Namespace, list[str]] = super().parse_known_args(
            self._with_sizes([self._current(word) for word in words]), namespace
        )
        return known

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one line on stderr."""
        text = message.removeprefix("argument ")
        self.exit(2, f"error: {text}; list the options with: {self.prog} --help\n")

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        """Exit if a word is an option of another tool, or of none."""
        options = [*self._option_string_actions, *self._renamed]
        unknown = []
        for word in words[: words.index("--") if "--" in words else None]:
            name = word.partition("=")[0]
            if _is_assignment(word):
                answer = translate(f"--{name}", options).replace(f"--{name} ", f"{name}= ", 1)
                own = f"{name}= is --{name} here" if f"--{name}" in options else ""
                unknown += [text for text in (answer or own,) if text]
            elif not _is_option(word) or name in options or self._is_short(word):
                continue
            elif answer := translate(name, options):
                unknown.append(answer)
            elif closest := closest_option(name, options):
                unknown.append(f"unknown option {name}; did you mean {closest}?")
            else:
                unknown.append(f"unknown option {name}")
        if unknown:
            self.error("; ".join(dict.fromkeys(unknown)))

    def _is_short(self, word: str) -> bool:
        """Return whether `word` is a known letter with its value attached, or several switches."""
        action = self._option_string_actions.get(word[:2])
        if action is None or word.startswith("--"):
            return False
        return action.nargs != 0 or all(f"-{x}" in self._option_string_actions for x in word[1:])

    def _current(self, word: str) -> str:
        name, equals, value = word.partition("=")
        return self._renamed.get(name, name) + equals + value

    def _with_sizes(self, words: Sequence[str]) -> list[str]:
        """Write HxW and single numbers after the options of sizes as two words."""
        result: list[str] = []
        for word in words:
            name, equals, value = word.partition("=")
            if name in self._sizes and equals:
                result += [name, value]
            else:
                result.append(word)
        for index in range(len(result) - 1, 0, -1):
            found = _SIZE.fullmatch(result[index])
            if result[index - 1] not in self._sizes or found is None:
                continue
            height, width = found.groups()
            if width is None and _SIZE.fullmatch("".join(result[index + 1 : index + 2])):
                continue  # two numbers
            result[index : index + 1] = [height, width or height]
        return result


def group(parser: argparse.ArgumentParser, title: str) -> argparse._ArgumentGroup:
    """Return the group of that title; a new one gets its place in the order of GROUPS."""
    for found in parser._action_groups:
        if found.title == title:
            return found
    new = parser.add_argument_group(title)
    places = {None: -2, "positional arguments": -2, "options": -1, GENERAL: len(GROUPS) + 1}
    places |= {name: place for place, name in enumerate(GROUPS)}
    parser._action_groups.sort(key=lambda found: places.get(found.title, len(GROUPS)))
    return new


def add_general_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    general = group(parser, GENERAL)
    if isinstance(parser, Parser):
        general.add_argument("-h", "--help", action="help", help="show this text and exit")
    general.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    talk = general.add_mutually_exclusive_group()
    talk.add_argument(
        "-v", "--verbose", action="store_true", help="also show messages of the libraries"
    )
    talk.add_argument(
        "-q", "--quiet", action="store_true", help="show only results, warnings and errors"
    )
    general.add_argument("--debug", action="store_true", help="show the traceback of an error")


class _Version(argparse.Action):
    """Print the version; it is read only if asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from segnet_deploy import __version__

        print(f"{parser.prog} {__version__}")
        parser.exit()


def _is_option(word: str) -> bool:
    """Return whether argparse would read `word` as an option."""
    return len(word) > 1 and word[0] == "-" and " " not in word and not _NUMBER.match(word)


def _is_assignment(word: str) -> bool:
    """Return whether `word` is name=value, the way of some tools, and no file."""
    return re.match(r"[a-z_]+=", word) is not None and not Path(word).exists()
