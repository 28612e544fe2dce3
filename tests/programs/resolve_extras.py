"""Does every extra resolve for every supported Python? Installs nothing.

    python tests/programs/resolve_extras.py [extra ...]

Needs a package index. Prints one line per extra and Python; exit status 1 if one does not resolve.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:  # installed with segnet-deploy on Python 3.10
    import tomli as tomllib

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# NVIDIA publishes these as source packages that download the libraries while they install.
SOURCE_ONLY = {"tensorrt"}


def main() -> int:
    """Resolve the extras on the command line, or all; return the exit status."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    failed = False
    for name in sys.argv[1:] or extras:
        for python in PYTHONS:
            error = resolve(project["dependencies"] + extras[name], python)
            failed |= bool(error)
            print(f"{'FAILED' if error else 'ok':8}{python:6}{name:18}{error}", flush=True)
    return 1 if failed else 0


def resolve(requirements: list[str], python: str) -> str:
    """Return the resolver's error, or an empty string."""
    wheels = [r for r in requirements if re.split(r"[<>=;\[ ]", r)[0] not in SOURCE_ONLY]
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
        command += ["--disable-pip-version-check", "--ignore-installed", "--target", target]
        command += ["--python-version", python, "--only-binary", ":all:", *wheels]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "" if done.returncode == 0 else (errors[-1] if errors else done.stderr[-200:])


if __name__ == "__main__":
    sys.exit(main())
