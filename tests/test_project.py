"""The project as a whole: versions agree, public names are pinned, the demo's weights fit."""

from __future__ import annotations

import re
from pathlib import Path

import segnet_deploy
import segnet_export

ROOT = Path(__file__).parents[1]


def test_versions_agree() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    cmake = (ROOT / "CMakeLists.txt").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version = re.search(r'^version = "(.+)"', project, re.M)
    assert version
    assert f"VERSION {version[1]}" in cmake
    assert version[1] in changelog or "Unreleased" in changelog
    assert segnet_deploy.__version__ == version[1]


def test_export_names_are_pinned() -> None:
    assert segnet_export.__all__ == [
        "ARCHITECTURES",
        "Architecture",
        "ExportOptions",
        "ExportResult",
        "GateOptions",
        "GateReport",
        "GateRow",
        "LoadedCheckpoint",
        "SegNet",
        "SegNetBasic",
        "SegNetConfig",
        "Trace",
        "create",
        "export",
        "load_checkpoint",
        "load_weights",
        "trace",
        "write",
    ]
    for name in segnet_export.__all__:
        assert getattr(segnet_export, name) is not None


def test_demo_weights_are_small() -> None:
    assert (ROOT / "benchmarks/demo/segnet_demo.pt").stat().st_size <= 3_000_000


def test_modules_stay_short() -> None:
    sources = [*ROOT.glob("segnet_deploy/**/*.py"), *ROOT.glob("export/**/*.py")]
    long = {p.name: n for p in sources if (n := len(p.read_text().splitlines())) > 320}
    assert not long
