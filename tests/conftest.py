"""Markers that skip a test if this machine lacks something, and fixtures for several folders."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["SEGNET_AUTO"] = "order"  # tests measure runtimes only on request
HERE = Path(__file__).parent
BENCHMARKS = HERE.parent / "benchmarks"
for folder in (HERE / "support", HERE / "programs", BENCHMARKS, BENCHMARKS / "kernels"):
    sys.path.insert(0, str(folder))

import aarch64  # noqa: E402 - needs the path above
import browser  # noqa: E402

HEADERS = "TensorRT_ROOT"  # the name of CMake's variable
CHECKS: dict[str, tuple[Callable[[], bool], str]] = {
    "compiler": (lambda: shutil.which("c++") is not None, "no C++ compiler (c++) on PATH"),
    "real-processor": (
        lambda: "QEMU_CPU" not in os.environ,
        "Python runs in qemu: slow, without limits of memory, and it starts no compiled programs",
    ),
    "nvcc": (lambda: shutil.which("nvcc") is not None, "no CUDA compiler (nvcc) on PATH"),
    "tensorrt-headers": (
        lambda: bool(os.environ.get(HEADERS)),
        "no TensorRT headers: set TensorRT_ROOT to a folder with include/NvInferRuntime.h",
    ),
    "gpu": (lambda: _device_count() > 0, "no CUDA device answers"),
    "tensorrt": (lambda: _importable("tensorrt"), "tensorrt is not installed"),
    "tensorrt-rtx": (
        lambda: _importable("tensorrt_rtx_bindings") or _importable("tensorrt_rtx"),
        "TensorRT-RTX is not installed",
    ),
    "tensorrt-lean": (
        lambda: _importable("tensorrt_lean_bindings"),
        "tensorrt_lean is not installed (wheels tensorrt-lean-cu13-libs and -bindings)",
    ),
    "ort-ops": (
        lambda: _operators_built(),
        "the operators for ONNX Runtime are not built: no C++ compiler at installation",
    ),
    "ort-headers": (
        lambda: bool(os.environ.get("ONNXRUNTIME_ROOT")),
        "no ONNX Runtime headers: set ONNXRUNTIME_ROOT to a folder with "
        "include/onnxruntime_c_api.h",
    ),
    "aarch64": (
        lambda: bool(shutil.which(aarch64.COMPILER) and aarch64.emulator()),
        f"no {aarch64.COMPILER} or {aarch64.EMULATORS[0]} on PATH ({aarch64.PACKAGES})",
    ),
    "openvino": (lambda: _importable("openvino"), "openvino is not installed"),
    "rtsp": (
        lambda: _rtsp_usable(),
        "no RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi python3-numpy "
        "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly",
    ),
    "chromium": (lambda: browser.find() is not None, "no Chromium on PATH (Debian: chromium)"),
    "ncnn": (lambda: _importable("ncnn"), "ncnn is not installed"),
    "litert": (
        lambda: bool(os.environ.get("LITERT_PYTHON")),
        "no onnx2tf: set LITERT_PYTHON to a Python 3.12 that has it (docs/how-to/devices.md)",
    ),
    "triton": (
        lambda: _importable("tritonclient") and _triton_starts(),
        "no Triton server: `make triton` makes its environment, .venv-triton, and installs "
        "the client",
    ),
    "ros2": (
        lambda: bool(os.environ.get("ROS2_PYTHON")),
        "no ROS 2: set ROS2_PYTHON to a Python that has rclpy and segnet-deploy "
        "(docs/deploy/ros2.md)",
    ),
    "gstreamer": (
        lambda: _gi_usable(),
        "no GStreamer: apt-get install python3-gi gir1.2-gst-plugins-base-1.0 "
        "gstreamer1.0-plugins-base, for this version of Python",
    ),
    "pyarrow": (
        lambda: _importable("pyarrow"),
        'pyarrow is not installed: pip install "segnet-deploy[batch]"',
    ),
    "sphinx": (
        lambda: all(map(_importable, ("sphinx", "myst_parser", "furo"))),
        "Sphinx is not installed: `make docs` installs it",
    ),
    "ray": (
        lambda: _importable("ray") and _importable("ray.data"),
        'Ray is not installed: pip install "segnet-deploy[ray]"',
    ),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        default="",
        help=f"comma-separated: fail instead of skipping for {', '.join(CHECKS)}",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    required = str(item.config.getoption("--require")).split(",")
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            works, reason = CHECKS[name]
            if works():
                continue
            if name in required:
                pytest.fail(f"--require {name}: {reason}")
            pytest.skip(reason)


@functools.cache
def _triton_starts() -> bool:
    from triton_server import missing

    return not missing()


@functools.cache
def _rtsp_usable() -> bool:
    from rtsp_server import usable

    return usable()


@functools.cache
def _gi_usable() -> bool:
    from system_gi import usable

    return usable()


def _device_count() -> int:
    from segnet_deploy.system.cuda_driver import device_count

    return device_count()


def _operators_built() -> bool:
    from segnet_deploy.runtimes.onnxruntime import operator_library

    return operator_library() is not None


def _importable(name: str) -> bool:
    from segnet_deploy.optional import available

    return available(name)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an exported file: a SegNet of odd size, with class names and normalisation."""
    import torch

    from segnet_export import SegNet, SegNetConfig, export

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "segnet.onnx"
    export(
        SegNet(SegNetConfig.standard(5, width=4)),
        torch.zeros(1, 3, 45, 61),
        path,
        mean=(110.0, 110.0, 110.0),
        std=(60.0, 60.0, 60.0),
        runtimes=["onnxruntime"],
    )
    return path


@pytest.fixture(scope="session")
def sampled_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file that samples its dropout, in the size of `small_model` and of 5 classes."""
    import onnx_ir as ir
    from dropout_net import dropout_net

    from segnet_deploy.passes.sample_dropout import sample_dropout

    path = tmp_path_factory.mktemp("sampled") / "sampled.onnx"
    ir.save(sample_dropout(dropout_net((45, 61)), 3).model, path)
    return path


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Return a synthetic street scene as a PNG file."""
    import cv2

    from segnet_deploy.scenes import draw_scene

    path = tmp_path / "street.png"
    cv2.imwrite(str(path), draw_scene(1, 90, 120).frame)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with images/ and labels/: synthetic streets in the size of `small_model`."""
    import cv2
    import numpy as np

    from segnet_deploy.scenes import draw_scene

    folder = tmp_path / "data"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for seed in range(3):
        scene = draw_scene(seed, 45, 61)
        cv2.imwrite(str(folder / f"images/{seed}.png"), scene.frame)
        cv2.imwrite(str(folder / f"labels/{seed}.png"), np.minimum(scene.labels, 4))
    return folder
