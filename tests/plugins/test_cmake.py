"""CMake finds TensorRT's headers, downloads them on request, or skips the plugin."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("compiler", "nvcc")
ROOT = Path(__file__).parents[2]


def configure(build: Path, *options: str) -> str:
    if shutil.which("cmake") is None:
        pytest.skip("no cmake on PATH")
    command = ["cmake", "-S", str(ROOT), "-B", str(build), "-DCMAKE_CUDA_ARCHITECTURES=86"]
    environment = {k: v for k, v in os.environ.items() if k != "TensorRT_ROOT"}
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_missing_headers_skip_the_plugin_in_one_line(tmp_path: Path) -> None:
    lines = [s for s in configure(tmp_path).splitlines() if "segnet-deploy:" in s]
    if any("headers in" in line for line in lines):
        pytest.skip("this machine has TensorRT headers on its system paths")
    assert len(lines) == 1
    assert "skipping the TensorRT plugin" in lines[0]


def test_missing_release_is_reported_in_one_line(tmp_path: Path) -> None:
    url = (tmp_path / "nowhere").as_uri()
    out = configure(
        tmp_path / "b", "-DSEGNET_TENSORRT_TAG=release/0.1", f"-DSEGNET_TENSORRT_URL={url}"
    )
    if "headers in" in out:
        pytest.skip("this machine has TensorRT headers on its system paths")
    lines = [s for s in out.splitlines() if "segnet-deploy:" in s]
    assert len(lines) == 1
    assert "for release/0.1" in lines[0]


@pytest.mark.needs("tensorrt-headers")
def test_downloaded_headers_are_enough(tmp_path: Path) -> None:
    """A file:// mirror takes the place of the download URL."""
    mirror = tmp_path / "mirror"
    root = Path(os.environ["TensorRT_ROOT"])  # noqa: SIM112 - as CMake spells it
    shutil.copytree(root / "include", mirror / "r" / "include")
    build = tmp_path / "b"
    out = configure(build, "-DSEGNET_TENSORRT_TAG=r", f"-DSEGNET_TENSORRT_URL={mirror.as_uri()}")
    assert "headers in" in out
    done = subprocess.run(
        ["cmake", "--build", str(build), "--target", "segnet_tensorrt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
