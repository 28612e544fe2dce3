"""Do the GPU tests of tests/plugins pass?"""

from __future__ import annotations

import re
import subprocess
import sys

from gpu.place import ROOT, Place
from gpu.record import Record

GOAL = "every GPU test passes and none is skipped"


def run(place: Place, record: Record) -> None:
    """Run tests/plugins/test_gpu.py; on a GPU no test may be skipped. A dry run collects them."""
    command = [sys.executable, "-m", "pytest", "tests/plugins/test_gpu.py", "-q"]
    command += ["-p", "no:cacheprovider"]
    command += ["--collect-only"] if place.dry else ["--require", "gpu,nvcc"]
    paths = ":".join(map(str, (ROOT, ROOT / "export")))
    done = subprocess.run(
        ["env", f"PYTHONPATH={paths}", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr, flush=True)
    passed = re.search(r"(\d+) passed" if not place.dry else r"(\d+) tests? collected", done.stdout)
    count = int(passed[1]) if passed else 0
    clean = done.returncode == 0 and count > 0 and "skipped" not in done.stdout
    if place.dry:
        record.must("the GPU tests are collected", clean, f"{count} tests")
        record.unjudged(GOAL, "needs a GPU")
    else:
        record.must(GOAL, clean, f"{count} tests")
