"""A short run of the fuzzer: no crash, hang, traceback, stray file or file read outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "programs/fuzz.py"


def test_mutated_files_are_clear_errors() -> None:
    command = [sys.executable, str(PROGRAM), "--cases", "50", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "50 cases of seed 1" in done.stdout
