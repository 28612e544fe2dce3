"""Clocks, power and temperature of an NVIDIA GPU, as NVML reports them."""

from __future__ import annotations

import os
from typing import Any

from segnet_deploy.optional import require


def _first_visible() -> int:
    """Return the number of the GPU that CUDA uses first: that of CUDA_VISIBLE_DEVICES, else 0."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    return int(first) if first.isdigit() else 0


def read() -> dict[str, Any] | None:
    """Return name, driver, clocks (MHz), power (W), energy (J) and temperature (Celsius) of a GPU.

    It is the first that CUDA_VISIBLE_DEVICES lists.

    `throttled` is NVML's bit mask of the reasons for reduced clocks: among them bits 2 (power
    cap), 3 (hardware slowdown), 5 (software thermal), 6 (hardware thermal) and 7 (power brake).
    A value that the device does not report is None. Without NVML, as on a Jetson, return None.
    """
    try:
        nvml = require("pynvml", extra="tensorrt")
        nvml.nvmlInit()
    except Exception:  # not installed, or NVMLError, which only the library defines
        return None
    try:
        device = nvml.nvmlDeviceGetHandleByIndex(_first_visible())

        def value(function: str, *arguments: int, scale: float = 1) -> float | None:
            try:
                return float(getattr(nvml, function)(device, *arguments)) / scale
            except (nvml.NVMLError, AttributeError):  # unsupported by the device or by this release
                return None

        return {
            "name": str(nvml.nvmlDeviceGetName(device)),
            "driver": str(nvml.nvmlSystemGetDriverVersion()),
            "graphics_mhz": value("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_GRAPHICS),
            "memory_mhz": value("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            "power_w": value("nvmlDeviceGetPowerUsage", scale=1000),
            "temperature_c": value("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            "energy_j": value("nvmlDeviceGetTotalEnergyConsumption", scale=1000),
            "throttled": value("nvmlDeviceGetCurrentClocksThrottleReasons"),
        }
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()
