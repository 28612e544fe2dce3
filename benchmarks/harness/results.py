"""Result files: JSON with the machine and the library versions, written after each part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segnet_deploy.errors import InputError
from segnet_deploy.files import atomic_write, make_folder
from segnet_deploy.system.machine import WHEELS, describe_machine, versions


def machine_facts() -> dict[str, Any]:
    """Return `machine` and `versions`: what a result was measured on."""
    return {"machine": describe_machine(), "versions": library_versions()}


def library_versions() -> dict[str, str]:
    """Return the versions of the runtimes and of torch."""
    return versions((*WHEELS, "torch"))


def save(path: str | Path | None, result: dict[str, Any]) -> None:
    """Write `result` to `path` and make its folder; None writes nothing. Raises InputError."""
    if path is None:
        return
    make_folder(Path(path).parent)
    atomic_write(path, (json.dumps(result, indent=2) + "\n").encode())


def resume(path: str | Path | None, conditions: dict[str, Any]) -> dict[str, Any]:
    """Return what earlier calls saved in `path`, or an empty dictionary.

    Makes the folder, so that an unusable path fails before the measurement. Raises InputError if
    the file cannot be read or was measured under other `conditions`.
    """
    if path is None:
        return {}
    path = Path(path)
    make_folder(path.parent)
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        other = [key for key, value in conditions.items() if found.get(key) != value]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}); choose another --json") from error
    if other:
        key = other[0]
        raise InputError(
            f"{path} was measured with {key} {found.get(key)}, now {conditions[key]}; use the "
            "same settings, or choose another --json"
        )
    return found
