"""Devices and version of the CUDA driver, through libcuda alone."""

from __future__ import annotations

import ctypes
import functools
import sys

# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR (cuda.h)
_CAPABILITY = (75, 76)


@functools.cache
def _driver() -> ctypes.CDLL | None:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def device_count() -> int:
    """Return the number of CUDA devices, 0 without a working driver."""
    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def driver_version() -> str | None:
    """Return the CUDA version that the driver supports, such as '13.0', or None."""
    driver, version = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def capability() -> tuple[int, int] | None:
    """Return the compute capability of the first CUDA device, such as (8, 7), or None."""
    driver, device = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuDeviceGet(ctypes.byref(device), 0) != 0:
        return None
    found = []
    for attribute in _CAPABILITY:
        value = ctypes.c_int(0)
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) != 0:
            return None
        found.append(value.value)
    return found[0], found[1]


def device_name() -> str:
    """Return the name of the first CUDA device, or 'none'."""
    driver, name, device = _driver(), ctypes.create_string_buffer(256), ctypes.c_int(0)
    if driver is None or driver.cuDeviceGet(ctypes.byref(device), 0) != 0:
        return "none"
    if driver.cuDeviceGetName(name, len(name), device) != 0:
        return "none"
    return name.value.decode("utf-8", "replace")
