"""The commands that the package installs, as pyproject.toml lists them."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
# Name -> module, such as segnet-bench -> segnet_deploy.cli.bench.
COMMANDS: dict[str, str] = {
    name: target.partition(":")[0] for name, target in _PROJECT["project"]["scripts"].items()
}
