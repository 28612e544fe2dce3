"""Does every extra resolve for every supported Python, on x86-64 and on 64-bit ARM?

    python tests/programs/resolve_extras.py [extra ...]

Installs nothing. Needs uv and a package index: uv evaluates the markers of requirements for the
other Python and processor, which `pip install --dry-run --platform` does not. Prints a line per
extra, Python and processor, with the versions found; exit status 1 if one does not resolve.
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:  # installed with segnet-deploy on Python 3.10
    import tomli as tomllib

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# glibc 2.35 is that of JetPack 6 (Ubuntu 22.04).
PLATFORMS = ("x86_64-manylinux_2_35", "aarch64-manylinux_2_35")
# NVIDIA publishes these as source packages that download the libraries while they install.
SOURCE_ONLY = {"tensorrt"}


def main() -> int:
    """Resolve the extras on the command line, or all; return the exit status."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    rows = list(product(sys.argv[1:] or extras, PLATFORMS, PYTHONS))

    def resolve_row(row: tuple[str, str, str]) -> tuple[str, str]:
        extra, platform, python = row
        return resolve(project["dependencies"], extras[extra], python, platform)

    failed = 0
    with ThreadPoolExecutor(4) as pool:
        for (extra, platform, python), (error, found) in zip(
            rows, pool.map(resolve_row, rows), strict=True
        ):
            failed += bool(error)
            state, machine = "FAILED" if error else "ok", platform.partition("-")[0]
            print(f"{state:8}{python:6}{machine:9}{extra:17}{error or found}", flush=True)
    print(f"{len(rows) - failed} of {len(rows)} resolve")
    return 1 if failed else 0


def resolve(base: list[str], extra: list[str], python: str, platform: str) -> tuple[str, str]:
    """Return the resolver's error, or an empty string; and the versions of `extra`'s packages."""
    wheels = [r for r in base + extra if name_of(r) not in SOURCE_ONLY]
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--python-version", python]
    command += ["--python-platform", platform, "--only-binary", ":all:", "--no-python-downloads"]
    command += ["--no-annotate", "--no-header"]
    done = subprocess.run(
        command, input="\n".join(wheels), capture_output=True, text=True, check=False
    )
    if done.returncode:
        *_, reason = re.split(r"No solution found[^\n]*\n|error: ", done.stderr)
        return " ".join(reason.split()) or done.stderr[-200:], ""
    asked = {name_of(requirement) for requirement in extra}
    return "", " ".join(line for line in done.stdout.split() if name_of(line) in asked)


def name_of(requirement: str) -> str:
    """Return the name in a requirement, in lower case with hyphens."""
    return re.split(r"[<>=;\[ ]", requirement)[0].lower().replace("_", "-")


if __name__ == "__main__":
    sys.exit(main())
