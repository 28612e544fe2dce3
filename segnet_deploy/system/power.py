"""Energy per frame: counters of NVIDIA GPUs and CPUs, or the sensors of a Jetson.

NVML  energy of the GPU board since the driver was loaded, in mJ; else its power, sampled
RAPL  energy of CPU packages (Linux powercap), in uJ; since 2020 only root may read it
INA   the sensors on a Jetson's rails (INA3221), sampled: what tegrastats prints
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from segnet_deploy.system import nvml
from segnet_deploy.system.clocks import SYSFS

SAMPLING = 0.05  # s
# The rails that add up to the whole module, by family; VDDQ of AGX Orin lies behind its 5 V rail.
# Source: Jetson Linux Developer Guide, Platform Power and Performance.
_MODULES = (
    ("VDD_IN",),
    ("POM_5V_IN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)


class Meter(Protocol):
    """Something that knows the energy used since it was started."""

    source: str

    def start(self) -> None:
        """Begin."""

    def stop(self) -> float | None:
        """Return the joules since start(), or None where they cannot be told."""


class Counter:
    """Counters that run by themselves: joules now minus joules then, wraps accounted for."""

    def __init__(self, source: str, read: Callable[[], list[float] | None], wraps: list[float]):
        self.source, self._read, self._wraps = source, read, wraps

    def start(self) -> None:
        self._then = self._read()

    def stop(self) -> float | None:
        now = self._read()
        if now is None or self._then is None:
            return None
        pairs = zip(now, self._then, self._wraps, strict=True)
        return sum(b - a + (wrap if b < a else 0.0) for b, a, wrap in pairs)


class Sampler:
    """Power read again and again in a thread, summed by the trapezoidal rule."""

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
        before, then = self._read(), time.perf_counter()
        while True:
            ended = self._ended.wait(SAMPLING)
            power, now = self._read(), time.perf_counter()
            if power is None or before is None:
                self._missing = True
                return
            self._joules += (power + before) / 2 * (now - then)
            before, then = power, now
            if ended:
                return


def energy(
    call: Callable[[], object],
    frames: int = 1,
    seconds: float = 2.0,
    device: str = "cpu",
    root: Path = SYSFS,
) -> dict[str, Any]:
    """Repeat `call`, of so many frames, for at least `seconds`; return the energy it takes.

    `joules_per_frame` and `watts` are None where nothing can tell, and `reason` says why.
    The figure is that of the whole part that the source measures, idle power included.
    """
    meters, reasons = find_meters(device, root)
    for meter in meters:
        meter.start()
    started, calls = time.perf_counter(), 0
    while meters and (calls == 0 or time.perf_counter() - started < seconds):
        call()
        calls += 1
    took = time.perf_counter() - started
    parts = {meter.source: meter.stop() for meter in meters}
    known = {source: joules for source, joules in parts.items() if joules is not None}
    reasons += [f"{source} stopped answering" for source in parts if source not in known]
    total = sum(known.values()) if known else None
    return {
        "joules_per_frame": None if total is None else total / (calls * frames),
        "watts": None if total is None else total / took,
        "frames": calls * frames,
        "seconds": took,
        "source": " + ".join(known) or None,
        "reason": None if known else "; ".join(reasons),
    }


def find_meters(device: str = "cpu", root: Path = SYSFS) -> tuple[list[Meter], list[str]]:
    """Return what measures here, and why the rest does not.

    On a Jetson the board's rail holds everything; elsewhere the CPU's packages, and the GPU
    where the network runs on one.
    """
    board, reasons = _jetson(root)
    if board:
        return [board], []
    meters: list[Meter] = []
    for found, reason in [_rapl(root)] + ([_nvidia()] if device == "cuda" else []):
        if found:
            meters.append(found)
        else:
            reasons = [*reasons, reason]
    return meters, reasons


def _rapl(root: Path) -> tuple[Meter | None, str]:
    # Packages only: their core, uncore and dram domains are parts of them, or other names.
    zones = [z for z in sorted((root / "class/powercap").glob("intel-rapl:*")) if _is_package(z)]
    if not zones:
        return None, "RAPL: no powercap zone intel-rapl:* (virtual machine, or not x86)"
    try:
        wraps = [float((z / "max_energy_range_uj").read_text()) / 1e6 for z in zones]
        _joules(zones)
    except PermissionError:
        return None, "RAPL: energy_uj may only be read by root (sudo, or chmod a+r on it)"
    except (OSError, ValueError) as error:
        return None, f"RAPL: {error}"
    return Counter(f"RAPL {len(zones)} package(s)", lambda: _readable(zones), wraps), ""


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text().strip().startswith("package")
    except OSError:
        return False


def _joules(zones: list[Path]) -> list[float]:
    return [float((zone / "energy_uj").read_text()) / 1e6 for zone in zones]


def _readable(zones: list[Path]) -> list[float] | None:
    try:
        return _joules(zones)
    except (OSError, ValueError):
        return None


def _jetson(root: Path) -> tuple[Meter | None, list[str]]:
    sensors = list((root / "bus/i2c/drivers/ina3221").glob("*/hwmon/hwmon*"))
    rails = dict(_rails(sensors))
    for names in _MODULES:
        if set(names) <= set(rails):
            return Sampler(
                f"INA3221 {' + '.join(names)}", functools.partial(_sum, rails, names)
            ), []
    if sensors:
        return None, [f"INA3221: rails {', '.join(rails)} of an unknown module"]
    return None, ["INA3221: none (no Jetson)"]


def _sum(rails: dict[str, Callable[[], float | None]], names: tuple[str, ...]) -> float | None:
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
        return None, "NVML: no NVIDIA GPU answers (driver, or nvidia-ml-py, is missing)"
    if facts["energy_j"] is not None:

        def joules() -> list[float] | None:
            now = (nvml.read() or {}).get("energy_j")
            return None if now is None else [now]

        return Counter(f"NVML {facts['name']}", joules, [0.0]), ""
    if facts["power_w"] is not None:
        sampled = Sampler(f"NVML {facts['name']}", lambda: (nvml.read() or {}).get("power_w"))
        return sampled, ""
    return None, f"NVML: {facts['name']} gives no power (NotSupported)"
