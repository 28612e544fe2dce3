"""Does compute-sanitizer find errors in the kernels?"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass

from gpu.libraries import find_native
from gpu.place import Place
from gpu.record import Record
from segnet_deploy.errors import EngineError

ERROR_STATUS = 9
_CASES = re.compile(r"cases: (\d+) runs, (\d+) pixels; (\d+) wrong")
_SUMMARY = re.compile(r"(ERROR|RACECHECK) SUMMARY: (\d+) (?:errors?|hazards?)")


@dataclass(frozen=True)
class Tool:
    """One run of compute-sanitizer: its tool, options, and the cases of the driver."""

    name: str
    cases: str
    options: tuple[str, ...] = ()


TOOLS = (
    Tool("memcheck", "all", ("--leak-check", "full")),
    Tool("initcheck", "all"),
    Tool("racecheck", "all"),
)


def run(place: Place, record: Record) -> None:
    """Run the driver alone, then under each tool. Raises EngineError without compute-sanitizer."""
    driver, origin = find_native("host_driver" if place.dry else "driver", place)
    record.fact("driver", f"{driver.name}, {origin}")
    text, status = _run([str(driver), "check"])
    counts = read_cases(text)
    record.must("the driver alone: every case is exact", status == 0 and counts[2] == 0, counts)
    record.must("the table has cases of every method", min(counts[:2]) > 0, counts[:2])
    if place.dry:
        for tool in TOOLS:
            text, status = _run([str(driver), "check", tool.cases])
            record.row("tools", tool=tool.name, cases=tool.cases, counts=read_cases(text))
        return
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if shutil.which(program) is None:
        raise EngineError("there is no compute-sanitizer on PATH, so that nothing was checked")
    for tool in TOOLS:
        started = time.perf_counter()
        command = [program, "--tool", tool.name, "--error-exitcode", str(ERROR_STATUS)]
        text, status = _run([*command, *tool.options, str(driver), "check", tool.cases])
        found = errors_of(text)
        clean = status == 0 and found == 0 and sum(read_cases(text)[:2]) > 0
        record.row(
            "tools",
            tool=tool.name,
            cases=tool.cases,
            counts=read_cases(text),
            errors=found,
            status=status,
            seconds=time.perf_counter() - started,
            tail=[] if clean else text.strip().splitlines()[-20:],
        )
        record.must(f"{tool.name} on {tool.cases}: no errors", clean, found)


def read_cases(text: str) -> list[int]:
    """Return how many cases of runs and of pixels the driver ran, and how many were wrong.

    All are 0 if it did not reach its end.
    """
    found = _CASES.search(text)
    return [int(number) for number in found.groups()] if found else [0, 0, 0]


def errors_of(text: str) -> int | None:
    """Return the number in compute-sanitizer's summary, or None if there is none."""
    found = _SUMMARY.findall(text)
    return int(found[-1][1]) if found else None


def _run(command: list[str]) -> tuple[str, int]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(" ".join(command), done.stdout[-4000:], done.stderr[-4000:], sep="\n", flush=True)
    return done.stdout + done.stderr, done.returncode
