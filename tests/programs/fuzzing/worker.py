"""Run cases one after the other in a forked process, and say what is wrong with each.

A case is wrong if it ends in a traceback, without one clear error, with files left behind, or
after a file outside the given folders was read. The parent process sees crashes and hangs.
"""

from __future__ import annotations

import contextlib
import ctypes
import fnmatch
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzzing.cases import SHARES, Case, make_case

MEMORY_LIMIT = 8 << 30  # of address space
MEMORY_NOTED = 2 << 30  # resident
_ALL_EVENTS = 0x00000001 | 0x00000020  # inotify: a file is read, a file is opened


class Canary:
    """A file next to the cases that nothing may read; the kernel reports who does."""

    def __init__(self, folder: Path):
        folder.mkdir(exist_ok=True)
        self._file = folder / "secret.bin"
        self._file.write_bytes(bytes(4096))
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK)
        libc.inotify_add_watch(self._events, os.fsencode(self._file), _ALL_EVENTS)

    def was_read(self) -> bool:
        """Return whether it was read since the last call."""
        try:
            return bool(os.read(self._events, 1 << 16))
        except BlockingIOError:
            return False


@dataclass(frozen=True)
class Plan:
    """Which cases are run, in the folder `root`, and where those that are wrong are kept."""

    seed: int
    kind: str | None
    root: Path
    keep: Path | None = None

    def keep_case(self, number: int) -> None:
        """Copy the files of the present case."""
        if self.keep is not None:
            target = self.keep / str(number)
            shutil.copytree(self.root / "case", target, symlinks=True, dirs_exist_ok=True)


def serve(numbers: list[int], plan: Plan, results: Any) -> None:
    """Run the cases with these `numbers`; write a line before and after each to `results`."""
    root = plan.root
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    noise = os.open(root / "noise.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    canary = Canary(root / "canary")
    for number in numbers:
        rng = random.Random(f"{plan.seed}-{number}")
        chosen = plan.kind or rng.choices(list(SHARES), list(SHARES.values()))[0]
        folder = root / "case"
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("in", "out", "cwd", "tmp"):
            (folder / name).mkdir(parents=True)
        os.chdir(folder / "cwd")
        tempfile.tempdir = str(folder / "tmp")
        os.environ["TMPDIR"] = tempfile.tempdir
        case = make_case(chosen, folder, root / "seeds", rng)
        _tell(results, start=number, kind=case.kind, name=case.name)
        canary.was_read()
        wrong = judge(case)
        if canary.was_read():
            wrong = f"a file outside the given folders was read; {wrong}"
        if wrong:
            plan.keep_case(number)
        _tell(results, end=number, wrong=wrong, memory=_peak_memory())
        os.ftruncate(noise, 0)


def judge(case: Case) -> str:
    """Run a case and return what is wrong, or an empty string."""
    given = _listing(case.given)
    output, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = case.run() or 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException as error:
        if not _is_ours(error):
            return f"{type(error).__name__} in {_place(error)}: {str(error)[:200]!r}"
        status = 1
        errors.write("error: " + " ".join(str(error).split()))
    text = errors.getvalue()
    if "Traceback (most recent call last)" in text:
        return f"a traceback is shown: {text[-400:]!r}"
    lines = [line for line in text.splitlines() if "error: " in line]
    if status not in (0, 1, 2) or (status and not lines):
        return f"status {status} with {text[-300:]!r}"
    if case.is_command and status and max(map(len, lines)) > 4000:
        return f"an error of {max(map(len, lines))} characters: {lines[0][:200]!r}"
    left = _stray(case, status)
    if left or _listing(case.given) != given:
        return f"status {status}, and left {left or 'changed input files'}"
    return "; ".join(case.notes)


def _is_ours(error: BaseException) -> bool:
    from segnet_deploy.errors import SegNetError

    return isinstance(error, SegNetError)


def _place(error: BaseException) -> str:
    """Return the innermost place of this project, and of all code, where `error` was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/segnet_deploy/" in f.filename or "/segnet_export/" in f.filename]
    return " < ".join(
        f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in [*frames[-1:], *reversed(ours[-3:])]
    )


def _stray(case: Case, status: int) -> list[str]:
    """Return the files that should not be there."""
    found = [f"{name}/{x}" for name in ("cwd", "tmp") for x in _listing(case.folder / name)]
    for name in _listing(case.out):
        allowed = any(fnmatch.fnmatch(name, pattern) for pattern in case.written)
        if not allowed or "tmp" in name or (status and not case.partial):
            found.append(f"out/{name}")
    return found


def _listing(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.lstat().st_size
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def _peak_memory() -> int:
    """Return the peak of the resident memory since the last call, in bytes."""
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return int(peak.split()[1]) << 10


def _tell(results: Any, **message: Any) -> None:
    results.write(json.dumps(message).encode() + b"\n")
    results.flush()
    sys.stdout.flush()
