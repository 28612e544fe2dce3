"""What works on this machine, what does not, and what to install."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from segnet_deploy.errors import MissingDependencyError
from segnet_deploy.optional import available, install_command, require

OLDEST_PYTHON = (3, 10)


@dataclass(frozen=True)
class Check:
    """One finding. `state` is ok, missing or broken; `advice` says what to do."""

    name: str
    state: str
    detail: str = ""
    advice: str = ""


def examine() -> list[Check]:
    """Examine Python, runtimes, OpenCV, CUDA, TensorRT, torch and compilers."""
    checks = [
        _python(),
        _cpus(),
        _cpu_features(),
        _library("onnx_ir"),
        _library("onnxruntime", "onnxruntime"),
        _library("openvino", "openvino"),
        _library("ncnn", "ncnn"),
        _native(),
    ]
    checks += [*_two_onnxruntimes(), _operators(), _auto()]
    checks += [_library(name, "camera") for name in ("av", "cv2", "simplejpeg", "PIL")]
    checks += [_gstreamer()]
    checks += [_cuda(), _nvidia_smi()]
    checks += [_library("tensorrt", "tensorrt"), _tensorrt_rtx()]
    checks += [_library("cuda.bindings", "tensorrt"), _torch()]
    checks += [
        _program("compiler", ("c++", "g++", "clang++", "cl"), "only to build the plugins"),
        _program("nvcc", ("nvcc",), "only to build the CUDA plugin"),
    ]
    return [check for check in checks if check is not None]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("python", "broken", version, "use Python 3.10 or newer")
    return Check("python", "ok", version)


def _cpus() -> Check:
    from segnet_deploy.system.cpus import cpu_quota, quota_threads, usable_cpus

    quota, threads = cpu_quota(), quota_threads()
    limit = "" if quota is None else f", quota of the container {quota:g}"
    chosen = "" if threads is None else f": {threads} threads by default"
    return Check("cpus", "ok", f"{len(usable_cpus())} usable{limit}{chosen}")


def _cpu_features() -> Check | None:
    """Report what the CPU computes, and what follows for the choice of a file."""
    from segnet_deploy.system.cpu_features import advise, cpu_features

    features = cpu_features()
    if not features:  # not known on this system
        return None
    return Check("cpu computes", "ok", f"{', '.join(features)}: {advise(features)}")


def _library(name: str, extra: str | None = None) -> Check:
    from segnet_deploy.system.machine import wheel_version

    advice = install_command(name, extra)
    if not available(name):
        return Check(name, "missing", "", advice)
    try:
        module = require(name, extra)
        providers = module.get_available_providers() if name == "onnxruntime" else ()
    except MissingDependencyError as error:
        return Check(name, "broken", str(error.__cause__), advice)
    except Exception as error:  # a damaged wheel can raise anything while it loads
        return Check(name, "broken", f"{type(error).__name__}: {error}", advice)
    version = str(getattr(module, "__version__", None) or wheel_version(name) or "")
    return Check(name, "ok", f"{version} {', '.join(providers)}".strip())


def _native() -> Check:
    from segnet_deploy.native.find import find_library
    from segnet_deploy.native.max_unpool import is_native

    advice = "ncnn pools in numpy, slower: install again on a machine with a C++ compiler"
    path = find_library("segnet_cpu")
    if path is None:
        return Check("segnet_cpu", "missing", "", advice)
    if not is_native():
        return Check("segnet_cpu", "broken", f"{path} does not load", advice)
    return Check("segnet_cpu", "ok", str(path))


def _two_onnxruntimes() -> list[Check]:
    from importlib import metadata

    found = []
    for wheel in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found.append(f"{wheel} {metadata.version(wheel)}")
        except metadata.PackageNotFoundError:
            continue
    if len(found) < 2:
        return []
    advice = "pip uninstall both, then install the extra onnxruntime or onnxruntime-gpu"
    return [Check("onnxruntime twice", "broken", " and ".join(found), advice)]


def _operators() -> Check:
    from segnet_deploy.runtimes.onnxruntime import operator_library

    library = operator_library()
    if library is None:
        advice = "install a C++ compiler, then segnet-deploy again: faster pools in onnxruntime"
        return Check("onnxruntime operators", "missing", "", advice)
    return Check("onnxruntime operators", "ok", str(library))


def _auto() -> Check:
    """Report what `--runtime auto` remembers."""
    from segnet_deploy.runtimes.auto_select import cache_file, describe, remembered

    measured = [entry for entry in remembered().values() if entry["seconds"]]
    last = f"; last: {describe(measured[-1]['seconds'])}" if measured else ""
    return Check("--runtime auto", "ok", f"{len(measured)} measured in {cache_file()}{last}")


def _gstreamer() -> Check:
    advice = "only for CSI cameras and pipelines: use the system's OpenCV (python3-opencv) or gi"
    if available("gi"):
        return Check("gstreamer", "ok", "by gi (PyGObject)")
    if not available("cv2"):
        return Check("gstreamer", "missing", "no OpenCV", advice)
    try:
        information: str = require("cv2", extra="camera").getBuildInformation()
    except Exception as error:  # reported in full by the line of cv2
        return Check("gstreamer", "broken", str(error), advice)
    line = next((row for row in information.splitlines() if "GStreamer:" in row), "")
    if "YES" in line:
        return Check("gstreamer", "ok", line.split("YES", 1)[1].strip(" ()"))
    return Check("gstreamer", "missing", "OpenCV was built without it", advice)


def _cuda() -> Check:
    from segnet_deploy.system import cuda_driver

    version = cuda_driver.driver_version()
    if version is None:
        return Check("cuda driver", "missing", "", "only for NVIDIA GPUs: install the driver")
    count = cuda_driver.device_count()
    if not count:
        return Check("cuda driver", "broken", f"CUDA {version}, no device", "check nvidia-smi")
    return Check("cuda driver", "ok", f"CUDA {version}, {count} device(s)")


def _nvidia_smi() -> Check:
    import shutil
    import subprocess

    program = shutil.which("nvidia-smi")
    if program is None:
        return Check("nvidia-smi", "missing", "", "comes with the NVIDIA driver")
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("nvidia-smi", "broken", str(error), "install the driver again")
    detail = " / ".join((done.stdout or done.stderr).split("\n")).strip(" /")
    return Check("nvidia-smi", "ok" if done.returncode == 0 else "broken", detail)


def _tensorrt_rtx() -> Check:
    from segnet_deploy.system.machine import wheel_version

    for name in ("tensorrt_rtx", "tensorrt_rtx_bindings"):
        if available(name):
            version = wheel_version(name) or wheel_version("tensorrt-rtx-cu13-bindings") or ""
            return Check("tensorrt-rtx", "ok", version)
    advice = 'pip install "segnet-deploy[tensorrt-rtx]" (builds engines without a GPU)'
    return Check("tensorrt-rtx", "missing", "", advice)


def _torch() -> Check:
    from segnet_deploy.system.machine import wheel_version

    if available("torch"):
        return Check("torch", "ok", wheel_version("torch") or "")
    advice = 'only for segnet-export: pip install "segnet-deploy[export]"'
    return Check("torch", "missing", "", advice)


def _program(name: str, programs: Sequence[str], advice: str) -> Check:
    import shutil

    path = next((found for program in programs if (found := shutil.which(program))), None)
    return Check(name, "ok", path) if path else Check(name, "missing", "", advice)
