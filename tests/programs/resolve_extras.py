"""Resolve every extra for every supported Python, without installing anything.

    python tests/programs/resolve_extras.py [extra ...]

Needs an index to ask; prints one line per pair and exits 1 where one does not resolve.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:  # the development environment brings tomli on 3.10
    import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# NVIDIA publishes these as source packages that fetch the libraries while they install.
SOURCE_ONLY = {"tensorrt"}


def main() -> int:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))[
        "project"
    ]
    extras = project["optional-dependencies"]
    failed = 0
    for name in sys.argv[1:] or extras:
        for python in PYTHONS:
            reason = resolve(project["dependencies"] + extras[name], python)
            failed += bool(reason)
            print(f"{'FAILED' if reason else 'ok':8}{python:6}{name:18}{reason}", flush=True)
    return 1 if failed else 0


def resolve(requirements: list[str], python: str) -> str:
    """Return an empty string, or the resolver's complaint."""
    names = [re.split(r"[<>=;\[ ]", requirement)[0] for requirement in requirements]
    wheels = [r for r, name in zip(requirements, names, strict=True) if name not in SOURCE_ONLY]
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
        command += ["--disable-pip-version-check", "--ignore-installed", "--target", target]
        command += ["--python-version", python, "--only-binary", ":all:", *wheels]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "" if done.returncode == 0 else (lines[-1] if lines else done.stderr[-200:])


if __name__ == "__main__":
    sys.exit(main())
