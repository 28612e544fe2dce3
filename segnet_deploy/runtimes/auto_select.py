"""`runtime="auto"`: measure the installed runtimes once per file and machine, and remember.

Measurements are kept in $XDG_CACHE_HOME/segnet-deploy/fastest.json, under a hash of the file,
the machine, the versions and the threads. A failed measurement is kept too, for this version of
segnet-deploy. SEGNET_AUTO=order skips measuring.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy import __version__
from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.files import atomic_write, sha256
from segnet_deploy.progress import Progress, silent

if TYPE_CHECKING:
    from segnet_deploy.runtimes.model_file import ModelFile

Seconds = dict[str, float | None]
"""Seconds per call by runtime; None for one that cannot run the file."""

TIME_LIMIT = 120.0
_MAX_ENTRIES = 200


def by_speed(
    file: ModelFile, threads: int | None, names: Sequence[str], progress: Progress = silent
) -> list[str]:
    """Return `names`, the fastest on `file` first; unchanged if it cannot be measured.

    A runtime whose process ended while it was measured is left out: it would end this one too.
    """
    if len(names) < 2 or os.environ.get("SEGNET_AUTO") == "order":
        return list(names)
    key = _key(file.path, threads, names)
    entry = remembered().get(key, {})
    if "failed" in entry and entry.get("version") == __version__:
        return list(names)  # it was reported when it failed
    if not _covers(entry.get("seconds"), names):
        entry = _measure_and_remember(key, file.path, threads, names, progress)
    seconds, died = entry["seconds"], entry.get("died", "")
    kept = [name for name in names if name not in died]
    return sorted(kept, key=lambda name: seconds.get(name) or float("inf"))


def cache_file() -> Path:
    """Return the path of the remembered measurements."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "segnet-deploy" / "fastest.json"


def remembered() -> dict[str, Any]:
    """Return the remembered entries by key; empty if the file is missing or damaged."""
    try:
        entries = json.loads(cache_file().read_text("utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home folder
        return {}
    if not isinstance(entries, dict):
        return {}
    return {
        key: entry
        for key, entry in entries.items()
        if isinstance(entry, dict) and _is_measurement(entry.get("seconds"))
    }


def describe(seconds: Mapping[str, float | None]) -> str:
    """Return the runtimes with their milliseconds, the fastest first."""
    known = sorted((value, name) for name, value in seconds.items() if value)
    refused = [f"{name} cannot run it" for name, value in seconds.items() if not value]
    return ", ".join([f"{name} {value * 1e3:.1f} ms" for value, name in known] + refused)


def measure_in_child(path: Path, threads: int | None, names: Sequence[str]) -> Seconds:
    """Measure each runtime on `path` in a child process. Raises EngineError if that fails."""
    from segnet_deploy.system.child_process import ChildProcess

    with ChildProcess("segnet_deploy.runtimes.speed_measurement") as child:
        found: Seconds = child.ask(
            "measure", timeout=TIME_LIMIT, path=str(path), threads=threads, names=list(names)
        )
    return found


def _measure_and_remember(
    key: str, path: Path, threads: int | None, names: Sequence[str], progress: Progress
) -> dict[str, Any]:
    """Measure, report the result and remember it; return the entry, without seconds if it failed.

    `died` in it names the runtimes that ended their process.
    """
    entry: dict[str, Any] = {"file": str(path.absolute())}
    try:
        seconds, died = _measure(path, threads, names)
        if not _covers(seconds, names):
            raise EngineError("no runtime could run the file")
    except EngineError as error:
        entry |= {"seconds": {}, "failed": str(error), "version": __version__}
        where = _remember(key, entry)
        progress(f"auto: not measured ({error}), trying {names[0]} first{where}")
        return entry
    entry |= {"seconds": seconds, **({"died": died} if died else {})}
    where = _remember(key, entry)
    progress(f"auto: {describe(seconds)} per call, measured once{where}")
    return entry


def _measure(path: Path, threads: int | None, names: Sequence[str]) -> tuple[Seconds, str]:
    """Return the seconds, and the names of runtimes that ended their process, joined by spaces.

    If one ends the process of all, each is measured in a process of its own.
    """
    from segnet_deploy.system.child_process import ChildDiedError

    try:
        return measure_in_child(path, threads, names), ""
    except ChildDiedError as first:
        seconds: Seconds = {}
        died = []
        for name in names:
            try:
                seconds |= measure_in_child(path, threads, [name])
            except ChildDiedError:
                seconds[name] = None
                died.append(name)
        if len(died) == len(names):  # more likely something else is wrong with the processes
            raise first
        return seconds, " ".join(died)


def _is_measurement(seconds: Any) -> bool:
    return isinstance(seconds, dict) and all(
        value is None or isinstance(value, (int, float)) for value in seconds.values()
    )


def _covers(seconds: Any, names: Sequence[str]) -> bool:
    """Return whether `seconds` has every one of `names`, and a time for at least one."""
    known = _is_measurement(seconds) and set(names) <= set(seconds)
    return known and any(seconds[name] for name in names)


def _key(path: Path, threads: int | None, names: Sequence[str]) -> str:
    """Return a hash of everything that the speed depends on."""
    from segnet_deploy.system.machine import describe_machine, versions

    machine = describe_machine()
    facts = [machine.get(name) for name in ("processor", "architecture", "cpus")]
    found = versions()
    facts += [sha256(path), threads, {name: found.get(name) for name in names}]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _remember(key: str, entry: dict[str, Any]) -> str:
    """Store an entry; return where, or why not, for the message."""
    entries = remembered() | {key: entry}
    text = json.dumps(dict(list(entries.items())[-_MAX_ENTRIES:]), indent=1)
    try:
        target = cache_file()
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, text.encode())
    except (OSError, InputError, RuntimeError) as error:
        return f"; not remembered: {error}"
    return f", remembered in {target}"
