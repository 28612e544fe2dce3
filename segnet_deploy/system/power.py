"""Energy per frame: counters of NVIDIA GPUs and CPUs, or the sensors of a Jetson.

NVML  energy of the GPU board since the driver was loaded, in mJ; else its power, sampled
RAPL  energy of CPU packages (Linux powercap), in uJ; since 2020 only root may read it
INA   the sensors on a Jetson's power rails (INA3221), sampled: what tegrastats prints
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from segnet_deploy.system import nvml
from segnet_deploy.system.clocks import SYSFS

SAMPLING = 0.05  # s
# Rails that add up to the whole module, by family. The 5 V rail of AGX Orin feeds its VDDQ.
# Source: Jetson Linux Developer Guide, Platform Power and Performance.
_MODULE_RAILS = (
    ("VDD_IN",),
    ("POM_5V_IN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)


class Meter(Protocol):
    """Measures energy between start() and stop()."""

    source: str

    def start(self) -> None:
        """Start measuring."""

    def stop(self) -> float | None:
        """Return the joules since start(), or None if unknown."""


class CounterMeter:
    """Reads energy counters that always run; a counter that wrapped is corrected.

    `read` returns the joules of each counter, or None if that fails; `wraps` are the values at
    which they start again from 0.
    """

    def __init__(self, source: str, read: Callable[[], list[float] | None], wraps: list[float]):
        self.source, self._read, self._wraps = source, read, wraps

    def start(self) -> None:
        self._at_start = self._read()

    def stop(self) -> float | None:
        now = self._read()
        if now is None or self._at_start is None:
            return None
        pairs = zip(now, self._at_start, self._wraps, strict=True)
        return sum(b - a + (wrap if b < a else 0.0) for b, a, wrap in pairs)


class SamplingMeter:
    """Samples a power in watts in a thread and integrates it by the trapezoidal rule."""

    def __init__(self, source: str, read: Callable[[], float | None]):
        self.source, self._read = source, read

    def start(self) -> None:
        self._joules, self._missing = 0.0, False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> float | None:
        self._ended.set()
        self._thread.join()
        return None if self._missing else self._joules

    def _run(self) -> None:
        last_power, last_time = self._read(), time.perf_counter()
        while True:
            ended = self._ended.wait(SAMPLING)
            power, now = self._read(), time.perf_counter()
            if power is None or last_power is None:
                self._missing = True
                return
            self._joules += (power + last_power) / 2 * (now - last_time)
            last_power, last_time = power, now
            if ended:
                return


@dataclass(frozen=True)
class Energy:
    """Energy per frame and mean power; None if nothing could measure them, for `reason`.

    Both are those of the whole part that `source` measures, idle power included.
    """

    joules_per_frame: float | None = None
    watts: float | None = None
    frames: int = 0
    seconds: float = 0.0
    source: str | None = None
    reason: str | None = None


def measure_energy(
    call: Callable[[], object],
    frames: int = 1,
    seconds: float = 2.0,
    device: str = "cpu",
    root: Path = SYSFS,
) -> Energy:
    """Repeat `call`, which processes `frames` frames, for at least `seconds`; return its energy.

    `device` is cpu or cuda; `root` is the mount point of sysfs. Nothing is called if nothing
    can measure.
    """
    meters, reasons = find_meters(device, root)
    for meter in meters:
        meter.start()
    started, calls = time.perf_counter(), 0
    while meters and (calls == 0 or time.perf_counter() - started < seconds):
        call()
        calls += 1
    elapsed = time.perf_counter() - started
    readings = {meter.source: meter.stop() for meter in meters}
    known = {source: joules for source, joules in readings.items() if joules is not None}
    reasons += [f"{source} stopped answering" for source in readings if source not in known]
    joules = sum(known.values()) if known else None
    return Energy(
        joules_per_frame=None if joules is None else joules / (calls * frames),
        watts=None if joules is None else joules / elapsed,
        frames=calls * frames,
        seconds=elapsed,
        source=" + ".join(known) or None,
        reason=None if known else "; ".join(reasons),
    )


def find_meters(device: str = "cpu", root: Path = SYSFS) -> tuple[list[Meter], list[str]]:
    """Return the meters that work on this machine, and why the others do not.

    On a Jetson, the rails of the module cover everything. Elsewhere it is the CPU packages, and
    the GPU if `device` is cuda.
    """
    module, reason = _jetson(root)
    if module:
        return [module], []
    meters, reasons = list[Meter](), [reason]
    for meter, reason in [_rapl(root)] + ([_nvidia()] if device == "cuda" else []):
        if meter:
            meters.append(meter)
        else:
            reasons.append(reason)
    return meters, reasons


def _rapl(root: Path) -> tuple[Meter | None, str]:
    # Packages only: core, uncore and dram are domains of a package and would count twice.
    zones = [z for z in sorted((root / "class/powercap").glob("intel-rapl:*")) if _is_package(z)]
    if not zones:
        return None, "RAPL: no powercap zone intel-rapl:* (virtual machine, or not x86)"
    try:
        wraps = [float((z / "max_energy_range_uj").read_text()) / 1e6 for z in zones]
        _package_joules(zones)
    except PermissionError:
        return None, "RAPL: only root can read energy_uj (use sudo, or chmod a+r)"
    except (OSError, ValueError) as error:
        return None, f"RAPL: {error}"
    return CounterMeter(
        f"RAPL {len(zones)} package(s)", lambda: _package_joules_or_none(zones), wraps
    ), ""


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text().strip().startswith("package")
    except OSError:
        return False


def _package_joules(zones: list[Path]) -> list[float]:
    return [float((zone / "energy_uj").read_text()) / 1e6 for zone in zones]


def _package_joules_or_none(zones: list[Path]) -> list[float] | None:
    try:
        return _package_joules(zones)
    except (OSError, ValueError):
        return None


def _jetson(root: Path) -> tuple[Meter | None, str]:
    sensors = list((root / "bus/i2c/drivers/ina3221").glob("*/hwmon/hwmon*"))
    rails = dict(_rails(sensors))
    for names in _MODULE_RAILS:
        if set(names) <= set(rails):
            watts = functools.partial(_total_watts, rails, names)
            return SamplingMeter(f"INA3221 {' + '.join(names)}", watts), ""
    if sensors:
        return None, f"INA3221: rails {', '.join(rails)} of an unknown Jetson module"
    return None, "INA3221: no such sensor (not a Jetson)"


def _total_watts(
    rails: dict[str, Callable[[], float | None]], names: tuple[str, ...]
) -> float | None:
    watts = [rails[name]() for name in names]
    return None if None in watts else sum(w for w in watts if w is not None)


def _rails(sensors: list[Path]) -> Iterator[tuple[str, Callable[[], float | None]]]:
    """Yield each rail's name and a function that reads its watts (mV times mA)."""
    for folder in sorted(sensors):
        for path in sorted(folder.glob("in*_label")):
            channel = path.name[2:-6]

            def power(folder: Path = folder, channel: str = channel) -> float | None:
                try:
                    volts = float((folder / f"in{channel}_input").read_text()) / 1e3
                    return volts * float((folder / f"curr{channel}_input").read_text()) / 1e3
                except (OSError, ValueError):
                    return None

            yield path.read_text().strip().upper(), power


def _nvidia() -> tuple[Meter | None, str]:
    facts = nvml.read()
    if facts is None:
        return None, "NVML: no NVIDIA GPU found (the driver or nvidia-ml-py is missing)"
    if facts["energy_j"] is not None:

        def joules() -> list[float] | None:
            now = (nvml.read() or {}).get("energy_j")
            return None if now is None else [now]

        return CounterMeter(f"NVML {facts['name']}", joules, [0.0]), ""
    if facts["power_w"] is not None:
        sampled = SamplingMeter(f"NVML {facts['name']}", lambda: (nvml.read() or {}).get("power_w"))
        return sampled, ""
    return None, f"NVML: {facts['name']} does not report its power (NotSupported)"
