"""The machine and the library versions that a result was measured with."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from segnet_deploy.system import clocks
from segnet_deploy.system.cpus import usable_cpus

WHEELS = {
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnx_ir": ("onnx-ir",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "ncnn": ("ncnn",),
    "cuda.bindings": ("cuda-bindings", "cuda-python"),
    "av": ("av",),
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings"),
    "cv2": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
}


def describe_machine() -> dict[str, Any]:
    """Return processor, number of usable CPUs, clocks, power mode, operating system and Python."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cpus": len(usable_cpus()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "clocks": clocks.read(),
        "power_mode": clocks.power_mode(),
    }


def now() -> str:
    """Return the current time in UTC, as ISO 8601 with seconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def versions(modules: Sequence[str] = tuple(WHEELS)) -> dict[str, str]:
    """Return the version of each installed library, without importing it."""
    known = {module: wheel_version(module) for module in modules}
    return {module: version for module, version in known.items() if version}


def exporter_versions() -> dict[str, str]:
    """Return the versions that an exported file records, torch's among them if installed."""
    return versions(("segnet-deploy", "torch", "onnx", "onnx_ir"))


def wheel_version(module: str) -> str | None:
    """Return the version of the installed wheel that contains `module`, or None."""
    for wheel in WHEELS.get(module, (module,)):
        try:
            return metadata.version(wheel)
        except metadata.PackageNotFoundError:
            continue
    return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            for line in stream:
                if line.lower().startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
