"""The machine and the library versions that a result was measured with."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from segnet_deploy.system import clocks
from segnet_deploy.system.cpus import cpu_quota, usable_cpus

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
    """Return processor, number of usable CPUs, clocks, power mode, operating system and Python.

    `cpu_quota` is there only if the container limits the CPUs.
    """
    quota = cpu_quota()
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cpus": len(usable_cpus()),
        **({} if quota is None else {"cpu_quota": quota}),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "clocks": clocks.read(),
        "power_mode": clocks.power_mode(),
    }


def describe_cpus(machine: Mapping[str, Any]) -> str:
    """Return the CPUs of a described machine in words, with the quota if it has one."""
    quota = machine.get("cpu_quota")
    return f"{machine['cpus']} CPUs" + ("" if quota is None else f" (quota {quota:g})")


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
    """Return the board's name where the device tree has one, since ARM names no processor."""
    try:
        with open("/proc/device-tree/model", encoding="utf-8") as stream:
            return stream.read().strip("\0\n ")
    except OSError:
        pass
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            for line in stream:
                if line.lower().startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
