"""PyGObject of the system, for programs that the tests start in this environment's Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SYSTEM = Path("/usr/lib/python3/dist-packages/gi")  # Debian and Ubuntu
PROBE = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import Gst, GstApp
Gst.init(None)
for name in ("videotestsrc", "jpegenc", "multifilesink", "appsrc"):
    assert Gst.ElementFactory.find(name), name
"""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which gi alone of the system's packages is found, by a link."""
    link = folder / "gi"
    if not link.exists():
        link.symlink_to(SYSTEM)
    return os.environ | {"PYTHONPATH": str(folder)}


def usable() -> bool:
    """Return whether this version of Python can use it, with the elements that tests need."""
    if not SYSTEM.is_dir():
        return False
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROBE]
        variables = environment(Path(folder))
        return not subprocess.run(
            command, env=variables, capture_output=True, check=False
        ).returncode
