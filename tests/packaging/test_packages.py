"""What `make dist` accepts as a wheel and an sdist, and what a checkout has to put in them."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from build_packages import (
    LIBRARIES,
    METADATA,
    ROOT,
    SDIST_FILES,
    differences,
    package_files,
    sdist_faults,
    wheel_faults,
)
from resolve_extras import PYTHONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TAG = "segnet_deploy-1.0-py3-none-manylinux_2_34_x86_64.whl"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DATA = (
    "segnet_deploy/py.typed",
    "segnet_export/py.typed",
    "segnet_deploy/bench/report/page.css",
    "segnet_deploy/camera/web/page/index.html",
    "segnet_deploy/camera/web/page/page.js",
    "segnet_deploy/cli/completion.py",
    "segnet_deploy/passes/contract.json",
    "segnet_deploy/pretrained/demo.onnx",
    "segnet_deploy/schemas/run.json",
)


def whole() -> set[str]:
    return package_files() | LIBRARIES | {f"segnet_deploy-1.0.dist-info/{n}" for n in METADATA}


def wheel(path: Path, names: set[str]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in sorted(names):
            file.writestr(name, name)
    return path


def test_wheel_with_every_file_is_accepted(tmp_path: Path) -> None:
    assert wheel_faults(wheel(tmp_path / TAG, whole())) == []


@pytest.mark.parametrize("name", [*DATA, *sorted(LIBRARIES)])
def test_wheel_without_a_file_is_refused(name: str, tmp_path: Path) -> None:
    (fault,) = wheel_faults(wheel(tmp_path / TAG, whole() - {name}))
    assert f"{name} is missing" in fault


@pytest.mark.parametrize("name", ["tests/test_project.py", "docs/index.md", "benchmarks/peers.py"])
def test_wheel_with_what_is_no_package_is_refused(name: str, tmp_path: Path) -> None:
    (fault,) = wheel_faults(wheel(tmp_path / TAG, whole() | {name}))
    assert f"{name} does not belong there" in fault


def test_wheel_for_one_python_or_without_a_glibc_is_refused(tmp_path: Path) -> None:
    for tag in ("cp311-cp311-manylinux_2_34_x86_64", "py3-none-linux_x86_64", "py3-none-any"):
        (fault,) = wheel_faults(wheel(tmp_path / f"segnet_deploy-1.0-{tag}.whl", whole()))
        assert "expected the tag py3-none-manylinux" in fault


def test_wheel_of_the_sdist_must_be_the_wheel_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "sdist").mkdir()
    one, other = wheel(tmp_path / TAG, {"a", "b"}), wheel(tmp_path / "sdist" / TAG, {"a"})
    assert differences(one, one) == []
    (fault,) = differences(one, other)
    assert fault.startswith("b differs")


def test_sdist_has_what_a_build_needs_and_no_library(tmp_path: Path) -> None:
    path = tmp_path / "segnet_deploy-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name in SDIST_FILES - {"CMakeLists.txt"}:
            file.add(ROOT / name, f"segnet_deploy-1.0/{name}")
        file.add(ROOT / "LICENSE", "segnet_deploy-1.0/segnet_deploy/native/lib/libx.so")
    faults = sorted(sdist_faults(path))
    assert [fault.split(": ")[1] for fault in faults] == [
        "CMakeLists.txt is missing",
        "segnet_deploy/native/lib/libx.so does not belong there",
    ]


def test_supported_pythons_are_the_same_everywhere() -> None:
    """In the classifiers, for cibuildwheel and for the extras that `make resolve` resolves."""
    project = PROJECT["project"]
    listed = [c.rpartition(" ")[2] for c in project["classifiers"] if "Python :: 3." in c]
    built = PROJECT["tool"]["cibuildwheel"]["build"].split()
    assert listed == list(PYTHONS)
    assert built == [f"cp{version.replace('.', '')}-*" for version in listed]
    assert project["requires-python"] == f">={listed[0]}"
