"""Clock rates, temperatures, power mode and throttling of the CPU, as Linux reports them.

Everything is read from sysfs, whose mount point is `root`. What cannot be read is left out,
never guessed.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segnet_deploy.system import nvml
from segnet_deploy.system.cpus import usable_cpus

SYSFS = Path("/sys")
MAX_CPUS = 16  # reading one rate can interrupt that CPU for some 10 us
_COOLING = ("processor", "cpufreq", "throttle")


def read(root: Path = SYSFS, gpu: bool = False) -> dict[str, Any]:
    """Return the readable values now; keys of unknown values are missing.

    mhz            median clock rate of the usable CPUs; limit_mhz: their highest limit
    governor       frequency governor of the first usable CPU
    temperature_c  Celsius by thermal zone
    throttles      the kernel's thermal events since boot
    cooling        largest state of a cooling device that slows the CPU down, 0 if none does
    gpu_mhz, gpu_throttled  with `gpu`: NVML's clock and throttle bits (system/nvml.py)
    """
    cpus = [f"cpu{number}" for number in usable_cpus()[:MAX_CPUS]]
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
    values = {
        "mhz": statistics.median(rates) / 1e3 if rates else None,
        "limit_mhz": max(limits) / 1e3 if limits else None,
        "governor": _text(folders[0] / "cpufreq/scaling_governor") if folders else None,
        "temperature_c": _temperatures(root) or None,
        "throttles": int(sum(counts)) if counts else None,
        "cooling": int(max(cooling)) if cooling else None,
    }
    if gpu and (facts := nvml.read()):
        values |= {"gpu_mhz": facts["graphics_mhz"], "gpu_throttled": facts["throttled"]}
    return {name: value for name, value in values.items() if value is not None}


def power_mode(root: Path = SYSFS) -> str | None:
    """Return the mode of a Jetson's nvpmodel or the firmware's platform profile, or None."""
    try:
        query = subprocess.run(
            ["nvpmodel", "-q"], capture_output=True, text=True, timeout=5, check=False
        )
        for line in query.stdout.splitlines():
            if line.startswith("NV Power Mode:"):
                return f"nvpmodel {line.partition(':')[2].strip()}"
    except (OSError, subprocess.TimeoutExpired):
        pass
    profile = _text(root / "firmware/acpi/platform_profile")
    return f"platform profile {profile}" if profile else None


class ClockHistory:
    """Clock readings during a measurement, at least `spacing` seconds apart."""

    def __init__(self, root: Path = SYSFS, spacing: float = 0.5, gpu: bool = False):
        self.readings: list[dict[str, Any]] = []
        self._root, self._spacing, self._gpu, self._next = root, spacing, gpu, 0.0

    def sample(self) -> None:
        """Read the clocks unless `spacing` has not passed; call it between the timed calls."""
        if time.monotonic() >= self._next:
            self.readings.append(read(self._root, self._gpu))
            self._next = time.monotonic() + self._spacing


def _temperatures(root: Path) -> dict[str, float]:
    temperatures: dict[str, float] = {}
    for zone in sorted((root / "class/thermal").glob("thermal_zone*")):
        values = _numbers([zone / "temp"])
        if values and values[0] > 0:
            temperatures[_text(zone / "type") or zone.name] = values[0] / 1e3
    return temperatures


def _numbers(paths: Iterable[Path]) -> list[float]:
    """Return the numbers in `paths`; a file without one is skipped."""
    numbers = []
    for path in paths:
        try:
            numbers.append(float(_text(path) or ""))
        except ValueError:
            continue
    return numbers


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
