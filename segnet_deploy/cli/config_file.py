"""Options in a TOML file, named like the flags; flags on the command line override them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segnet_deploy.errors import InputError


def with_config(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Return `argv` preceded by the options in its --config FILE.

    A key may contain - or _; true sets a flag that has no value, false leaves it unset. Raises
    InputError for a file that cannot be read and for a key that is not an option of `parser`.
    """
    path = _config_path(argv)
    if path is None:
        return list(argv)
    table = _read(path)
    options = {key: _option(path, key, value) for key, value in table.items()}
    _, unknown = parser.parse_known_args([*options.values(), *argv])
    for key, option in options.items():
        if option in unknown or option.startswith("--config"):
            raise InputError(
                f"{path}: {key!r} is not an option; list them with {parser.prog} --help"
            )
    return [*(options[key] for key, value in table.items() if value is not False), *argv]


def _config_path(argv: Sequence[str]) -> Path | None:
    for index, word in enumerate(argv):
        if word == "--config" and index + 1 < len(argv):
            return Path(argv[index + 1])
        if word.startswith("--config="):
            return Path(word.split("=", 1)[1])
    return None


def _option(path: Path, key: str, value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise InputError(f"{path}: {key} = {value!r}; expected a single value")
    flag = "--" + key.replace("_", "-")
    return flag if isinstance(value, bool) else f"{flag}={value}"


def _read(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read --config {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"--config {path} is not valid TOML: {error}") from error
    return table
