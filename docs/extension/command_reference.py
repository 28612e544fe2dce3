"""The reference of a command as Markdown, from its argparse parser."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OWN = ("options", "optional arguments")  # argparse's name of its own group, 3.10 and before


def commands() -> dict[str, str]:
    """Return the name and the module of every command of pyproject.toml."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    return {name: home.split(":")[0] for name, home in project["project"]["scripts"].items()}


def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    module = commands()[command]
    home = (
        module if hasattr(importlib.import_module(module), "build_parser") else f"{module}_options"
    )
    parser: argparse.ArgumentParser = importlib.import_module(home).build_parser()
    return parser


def command_page(command: str) -> str:
    """Return what the parser says: usage, a table for each group of options, the epilog."""
    parser = parser_of(command)
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    usage = textwrap.fill(
        usage, 72, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
    )
    parts = [parser.description or "", f"```text\n{usage}\n```"]
    for title, rows in _groups(parser):
        heading = "Options" if title in OWN else title[:1].upper() + title[1:]
        table = ["| option | meaning |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
        parts += [f"**{heading}**", "\n".join(table)]
    if parser.epilog:
        parts.append(_cell(parser.epilog))
    return "\n\n".join(parts) + "\n"


def _groups(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
        if actions:
            yield group.title or "", [(_name(a), _meaning(parser, a)) for a in actions]


def _name(action: argparse.Action) -> str:
    """Return an option with its value, as code: `--imgsz H W`."""
    formatter = argparse.HelpFormatter("")
    if not action.option_strings:
        return f"`{formatter._format_args(action, action.dest)}`".replace("|", r"\|")
    text = ", ".join(action.option_strings)
    if action.nargs != 0:
        text += " " + formatter._format_args(action, action.dest.upper())
    return f"`{text}`".replace("|", r"\|")


def _meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    text = formatter._expand_help(action) if action.help else ""
    stated = "default" in text or not action.option_strings or action.required
    if action.default not in (None, False, argparse.SUPPRESS, []) and not stated:
        text += f"{' ' if text else ''}(default: {action.default})"
    return _cell(text)


def _cell(text: str) -> str:
    """Return text for a table's cell: options as code, nothing read as Markdown."""
    text = " ".join(text.split())
    text = re.sub(r"([\\*_<>\[\]|`$#])", r"\\\1", text)
    return re.sub(r"(?<![\w-])(--[a-z][a-z-]*)", r"`\1`", text)
