"""Options in a TOML file: the same names as the flags, which go before them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from segnet_deploy.errors import InputError


def with_config(argv: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the command line with the options of its --config FILE put in front.

    `known` are the flags. A key may be written with - or _; true stands for a flag without a
    value. Raises InputError for a file that cannot be read and for keys that are no flag.
    """
    path = _config_path(argv)
    if path is None:
        return list(argv)
    options: list[str] = []
    for key, value in _read(path).items():
        flag = "--" + key.replace("_", "-")
        if flag not in known or flag == "--config":
            names = ", ".join(sorted(name[2:] for name in known if name.startswith("--")))
            raise InputError(f"{path}: {key!r} is no option; expected one of {names}")
        if isinstance(value, (dict, list)):
            raise InputError(f"{path}: {key} = {value!r}; expected one value")
        if value is True:
            options.append(flag)
        elif value is not False:
            options.append(f"{flag}={value}")
    return options + list(argv)


def _config_path(argv: Sequence[str]) -> Path | None:
    for index, word in enumerate(argv):
        if word == "--config" and index + 1 < len(argv):
            return Path(argv[index + 1])
        if word.startswith("--config="):
            return Path(word.split("=", 1)[1])
    return None


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
        raise InputError(f"--config {path} is not TOML: {error}") from error
    return table
