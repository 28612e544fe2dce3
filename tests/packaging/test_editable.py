"""An editable install is the source tree, whatever is moved in it later."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "from scikit_build_core.build import build_editable as b; b('..', {'wheel.cmake': 'false'})"


def run(code: str, folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_editable_install_follows_a_moved_module(tmp_path: Path) -> None:
    pytest.importorskip("scikit_build_core")
    source, site = tmp_path / "source", tmp_path / "site"
    package = source / "segnet_deploy"
    package.mkdir(parents=True)
    (source / "export/segnet_export").mkdir(parents=True)
    (source / "export/segnet_export/__init__.py").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (package / "__init__.py").write_text('__version__ = "1.0"\n')
    (package / "before.py").write_text("WHERE = 1\n")
    run(BUILD, source)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    (package / "after").mkdir()
    (package / "before.py").rename(package / "after/__init__.py")
    code = f"""
import importlib.util, site
site.addsitedir({str(site)!r})
import segnet_export, segnet_deploy.after
print(segnet_deploy.after.__file__, importlib.util.find_spec("segnet_deploy.before"))
"""
    # -S: without the packages of this environment, where segnet_deploy is installed too.
    assert run(code, tmp_path, "-I", "-S") == f"{package}/after/__init__.py None"
