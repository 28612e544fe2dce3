"""Clock rates, temperatures, power mode and throttling of the CPU, where the system tells.

Everything is read from Linux' sysfs; `root` is where that lies. Where nothing can be read
the answer is empty, never a guess.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from segnet_deploy.system import nvml
from segnet_deploy.system.cpus import usable_cpus

SYSFS = Path("/sys")
MOST_CPUS = 16  # reading one rate can take some 10 us of a kernel call to that CPU
_COOLING = ("processor", "cpufreq", "throttle")


def read(root: Path = SYSFS, gpu: bool = False) -> dict[str, Any]:
    """Return what is known now: MHz (median and limit), governor, Celsius by zone, throttling.

    With `gpu` also NVML's clock and the bits of what holds it down (segnet_deploy/system/nvml.py).

    `throttles` counts the kernel's thermal events since boot; `cooling` is the largest state
    of a cooling device that slows the CPU down, 0 for none.
    """
    cpus = [f"cpu{number}" for number in usable_cpus()[:MOST_CPUS]]
    folders = [root / "devices/system/cpu" / cpu for cpu in cpus]
    rates = _numbers([f / "cpufreq/scaling_cur_freq" for f in folders])
    limits = _numbers([f / "cpufreq/scaling_max_freq" for f in folders])
    counts = _numbers(
        f / f"thermal_throttle/{scope}_throttle_count"
        for f in folders
        for scope in ("core", "package")
    )
    cooling = [
        state
        for device in sorted((root / "class/thermal").glob("cooling_device*"))
        if any(word in (_text(device / "type") or "").lower() for word in _COOLING)
        for state in _numbers([device / "cur_state"])
    ]
    found = {
        "mhz": statistics.median(rates) / 1e3 if rates else None,
        "limit_mhz": max(limits) / 1e3 if limits else None,
        "governor": _text(folders[0] / "cpufreq/scaling_governor") if folders else None,
        "temperature_c": _temperatures(root) or None,
        "throttles": int(sum(counts)) if counts else None,
        "cooling": int(max(cooling)) if cooling else None,
    }
    if gpu and (facts := nvml.read()):
        found |= {"gpu_mhz": facts["graphics_mhz"], "gpu_throttled": facts["throttled"]}
    return {name: value for name, value in found.items() if value is not None}


def power_mode(root: Path = SYSFS) -> str | None:
    """Return the power mode: Jetson's nvpmodel, or the firmware's platform profile; else None."""
    try:
        said = subprocess.run(
            ["nvpmodel", "-q"], capture_output=True, text=True, timeout=5, check=False
        )
        for line in said.stdout.splitlines():
            if line.startswith("NV Power Mode:"):
                return f"nvpmodel {line.partition(':')[2].strip()}"
    except (OSError, subprocess.TimeoutExpired):
        pass
    profile = _text(root / "firmware/acpi/platform_profile")
    return f"platform profile {profile}" if profile else None


class History:
    """Readings while something is measured, `spacing` seconds apart or more."""

    def __init__(self, root: Path = SYSFS, spacing: float = 0.5, gpu: bool = False):
        self.readings: list[dict[str, Any]] = []
        self._root, self._spacing, self._gpu, self._next = root, spacing, gpu, 0.0

    def sample(self) -> None:
        """Read the clocks, unless that was just done; call it between the measured parts."""
        if time.monotonic() >= self._next:
            self.readings.append(read(self._root, self._gpu))
            self._next = time.monotonic() + self._spacing


def _temperatures(root: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in sorted((root / "class/thermal").glob("thermal_zone*")):
        values = _numbers([zone / "temp"])
        if values and values[0] > 0:
            found[_text(zone / "type") or zone.name] = values[0] / 1e3
    return found


def _numbers(paths: Any) -> list[float]:
    found = []
    for path in paths:
        try:
            found.append(float(_text(path) or ""))
        except ValueError:
            continue
    return found


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
