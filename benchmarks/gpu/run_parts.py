"""Run parts in child processes with time limits, and save the one result file after each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from gpu.parts import DRY_LIMIT, PARTS, Part
from harness.results import save

CHILD = Path(__file__).with_name("child.py")
SHORTEST = 8.0  # s; with less time left a part is not started
DONE, FAILED, TIMED_OUT, NOT_RUN = "done", "failed", "timed out", "not run"


@dataclass
class Check:
    """One call: its settings, and the result so far. `result` and `log` are its two files."""

    result: Path
    log: Path
    dry: bool
    prebuilt: Path
    extra: Path | None = None
    budget: float = float("inf")
    parts: dict[str, Part] = field(default_factory=lambda: dict(PARTS))
    child: Path = CHILD
    found: dict[str, Any] = field(default_factory=dict)

    def run(self, names: Sequence[str], progress: Callable[[str], None]) -> bool:
        """Run the parts in this order; return whether all were run and passed.

        Each part's entry has `status`: done, failed, timed out or not run. The result file is
        written after each part; what a part saved before it failed or was stopped is kept.
        """
        started = time.monotonic()
        self.found = {"check": "gpu", "dry_run": self.dry, "budget": self.budget, "parts": {}}
        save(self.result, self._to_json())
        with tempfile.TemporaryDirectory() as folder, open(self.log, "a", buffering=1) as log:
            for name in names:
                left = self.budget - (time.monotonic() - started)
                full = DRY_LIMIT if self.dry else self.parts[name].limit
                limit = min(full, left)
                if limit < min(SHORTEST, full):
                    entry = {"status": NOT_RUN, "error": f"{left:.0f} s of the budget were left"}
                else:
                    progress(f"{name}: at most {limit:.0f} s")
                    entry = self._run_one(name, limit, Path(folder), log)
                self.found["parts"][name] = entry
                save(self.result, self._to_json())
                progress(f"{name}: {entry['status']}{_reason(entry)}")
        return not self.failed

    @property
    def failed(self) -> list[str]:
        """The parts that did not pass, without spare ones for which no time was left."""
        return [
            name
            for name, entry in self.found["parts"].items()
            if entry["status"] != DONE
            and not (self.parts[name].spare and entry["status"] == NOT_RUN)
        ]

    def _run_one(self, name: str, limit: float, folder: Path, log: IO[str]) -> dict[str, Any]:
        file = folder / f"{name}.json"
        command = [sys.executable, str(self.child), name, "--save", str(file)]
        command += ["--folder", str(folder), "--prebuilt", str(self.prebuilt)]
        command += ["--extra", str(self.extra)] if self.extra else []
        command += ["--dry-run"] if self.dry else []
        command += [] if "machine" in self.found else ["--facts"]
        print(f"\n===== {name} =====", file=log, flush=True)
        before = time.monotonic()
        child = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = child.wait(limit)
            outcome = DONE if status == 0 else FAILED
        except subprocess.TimeoutExpired:
            status, outcome = None, TIMED_OUT
        finally:
            _end(child)
        entry: dict[str, Any] = {
            "status": outcome,
            "seconds": time.monotonic() - before,
            "limit": limit,
        }
        entry |= _read(file)
        if outcome == TIMED_OUT:
            entry["error"] = f"stopped after {limit:.0f} s; what it had found is kept"
        elif outcome == FAILED and "error" not in entry:
            broken = [g["goal"] for g in entry["goals"] if g.get("must") and g["met"] is False]
            entry["error"] = ", ".join(broken) or f"the process ended with status {status}"
        return entry

    def _to_json(self) -> dict[str, Any]:
        for entry in self.found["parts"].values():
            if "machine" in entry:
                self.found.setdefault("machine", entry.pop("machine"))
        return self.found


def _read(file: Path) -> dict[str, Any]:
    """Return what a part saved, with the facts about the machine and an error apart."""
    found: dict[str, Any] = {"facts": {}, "goals": [], "tables": {}}
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text())
    for name in ("machine", "error"):
        if name in found["facts"]:
            found[name] = found["facts"].pop(name)
    return found


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child with everything that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(10)


def _reason(entry: dict[str, Any]) -> str:
    return f" ({str(entry['error']).splitlines()[0][:200]})" if entry.get("error") else ""
