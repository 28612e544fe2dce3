"""`--runtime auto`: measure the installed runtimes once per file and machine, and remember.

The measurement runs in a process of its own, so that it adds nothing to this one's memory. What
it found is kept in $XDG_CACHE_HOME/segnet-deploy/fastest.json under the file's hash, the
machine, the versions and the threads. A measurement that failed is kept too, for this version
of segnet-deploy. SEGNET_AUTO=order leaves measuring out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy import __version__
from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.files import atomic_write, sha256
from segnet_deploy.types import DEFAULT_SIZE

if TYPE_CHECKING:
    from segnet_deploy.runtimes import Engine
    from segnet_deploy.runtimes.model_file import ModelFile

ROUNDS, SECONDS = 5, 3.0  # of interleaved calls, whichever ends first
TIME_LIMIT = 120.0
_KEPT = 200  # files that are remembered


def by_speed(file: ModelFile, threads: int | None, names: Sequence[str]) -> list[str]:
    """Return `names`, the fastest on `file` first; in their order where it cannot be measured."""
    if len(names) < 2 or os.environ.get("SEGNET_AUTO") == "order":
        return list(names)
    key = _key(file.path, threads, names)
    kept = remembered().get(key, {})
    if "failed" in kept and kept.get("version") == __version__:
        return list(names)  # said when it was tried
    seconds = kept.get("seconds")
    if not _fits(seconds, names):
        seconds = _measured_now(key, file.path, threads, names)
    return sorted(names, key=lambda name: seconds.get(name) or float("inf"))


def _measured_now(
    key: str, path: Path, threads: int | None, names: Sequence[str]
) -> dict[str, float | None]:
    """Measure, say what came out and remember it; nothing where it failed."""
    entry = {"file": str(path.absolute())}
    try:
        seconds: dict[str, float | None] = _measure_apart(path, threads, names)
        if not _fits(seconds, names):
            raise EngineError("no runtime could run the file")
    except EngineError as error:
        failure = {"seconds": {}, "failed": str(error), "version": __version__}
        place = _remember(key, entry | failure)
        print(f"auto: not measured ({error}), taking {names[0]} first{place}", file=sys.stderr)
        return {}
    place = _remember(key, entry | {"seconds": seconds})
    print(f"auto: {describe(seconds)} per call, measured once{place}", file=sys.stderr)
    return seconds


def cache_file() -> Path:
    """Return where measurements are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "segnet-deploy" / "fastest.json"


def remembered() -> dict[str, Any]:
    """Return what is kept, by key; nothing where the file is missing, unreadable or damaged."""
    try:
        kept = json.loads(cache_file().read_text("utf-8"))
    except (OSError, ValueError, RuntimeError):  # no home is a RuntimeError
        return {}
    if not isinstance(kept, dict):
        return {}
    return {
        key: value
        for key, value in kept.items()
        if isinstance(value, dict) and _is_measurement(value.get("seconds"))
    }


def describe(seconds: Mapping[str, float | None]) -> str:
    """Return the runtimes and their milliseconds, the fastest first."""
    known = sorted((value, name) for name, value in seconds.items() if value)
    refused = [f"{name} cannot run it" for name, value in seconds.items() if not value]
    return ", ".join([f"{name} {value * 1e3:.1f} ms" for value, name in known] + refused)


def measure(
    path: str | os.PathLike[str], threads: int | None, names: Sequence[str]
) -> dict[str, float | None]:
    """Return each runtime's least seconds per call in interleaved rounds; None: it cannot run."""
    import time

    import numpy as np

    from segnet_deploy.runtimes import open_engine

    engines: dict[str, Engine] = {}
    least: dict[str, float | None] = dict.fromkeys(names)
    for name in names:
        with contextlib.suppress(Exception):  # whatever a runtime raises, the others are measured
            engine = open_engine(path, name, threads)
            engine.run(np.zeros(_shape(engine), engine.inputs[0].dtype))
            engines[name] = engine

    def one_round() -> None:
        for name, engine in engines.items():
            x = np.zeros(_shape(engine), engine.inputs[0].dtype)
            started = time.perf_counter()
            engine.run(x)
            taken = time.perf_counter() - started
            least[name] = min(taken, least[name] or taken)

    ends = time.perf_counter() + SECONDS
    for _ in range(ROUNDS):
        one_round()
        if time.perf_counter() > ends:
            break
    return least


def _shape(engine: Engine) -> tuple[int, ...]:
    """Return a shape that the input takes: one image, of its own size or the usual one."""
    port = engine.inputs[0]
    frame = port.dtype == "uint8"
    default = (1, *DEFAULT_SIZE, 3) if frame else (1, 3, *DEFAULT_SIZE)
    return tuple(d if s is None else s for s, d in zip(port.shape, default, strict=True))


def _measure_apart(path: Path, threads: int | None, names: Sequence[str]) -> Any:
    """Call `measure` in a process of its own. Raises EngineError where that fails."""
    code = (
        "import json, sys; from segnet_deploy.runtimes.auto_select import measure; "
        "path, threads, *names = json.loads(sys.argv[1]); "
        "print(json.dumps(measure(path, threads, names)))"
    )
    argument = json.dumps([str(path), threads, *names])
    command = [sys.executable, "-c", code, argument]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"it took over {TIME_LIMIT:.0f} s") from error
    except OSError as error:
        raise EngineError(error.strerror or str(error)) from error
    except (ValueError, IndexError) as error:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise EngineError(last[0]) from error


def _is_measurement(seconds: Any) -> bool:
    return isinstance(seconds, dict) and all(
        value is None or isinstance(value, (int, float)) for value in seconds.values()
    )


def _fits(seconds: Any, names: Sequence[str]) -> bool:
    known = _is_measurement(seconds) and set(names) <= set(seconds)
    return known and any(seconds[name] for name in names)


def _key(path: Path, threads: int | None, names: Sequence[str]) -> str:
    """Return a hash of all that the speed depends on."""
    from segnet_deploy.system.machine import describe_machine, versions

    machine = describe_machine()
    facts = [machine.get(name) for name in ("processor", "architecture", "cpus")]
    found = versions()
    facts += [sha256(path), threads, {name: found.get(name) for name in names}]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _remember(key: str, found: dict[str, Any]) -> str:
    """Keep a measurement, or that it failed; return where, or why not, for the message."""
    kept = remembered() | {key: found}
    text = json.dumps(dict(list(kept.items())[-_KEPT:]), indent=1)
    try:
        target = cache_file()
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, text.encode())
    except (OSError, InputError, RuntimeError) as error:
        return f"; not remembered: {error}"
    return f", remembered in {target}"
