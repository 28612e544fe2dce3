"""Clocks, throttling and energy, read from folders with the layout of Linux' sysfs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from segnet_deploy.bench.warnings import throttling_warnings
from segnet_deploy.system import clocks, power
from segnet_deploy.system.machine import describe_machine


def tree(root: Path, files: dict[str, object]) -> Path:
    """Write files below `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def cpu(mhz: float, throttles: int = 0) -> dict[str, object]:
    """Return the files of the first CPU that this process may use."""
    at = f"devices/system/cpu/cpu{clocks.usable_cpus()[0]}"
    return {
        f"{at}/cpufreq/scaling_cur_freq": int(mhz * 1000),
        f"{at}/cpufreq/scaling_max_freq": 3_600_000,
        f"{at}/cpufreq/scaling_governor": "schedutil",
        f"{at}/thermal_throttle/core_throttle_count": throttles,
        "class/thermal/thermal_zone0/type": "cpu-thermal",
        "class/thermal/thermal_zone0/temp": 61_500,
        "class/thermal/thermal_zone1/type": "off",
        "class/thermal/thermal_zone1/temp": -256_000,
    }


def test_clocks_are_read(tmp_path: Path) -> None:
    assert clocks.read(tree(tmp_path, cpu(2400))) == {
        "mhz": 2400,
        "limit_mhz": 3600,
        "governor": "schedutil",
        "temperature_c": {"cpu-thermal": 61.5},
        "throttles": 0,
    }


def test_clocks_of_an_empty_tree_are_unknown(tmp_path: Path) -> None:
    assert clocks.read(tmp_path) == {}
    assert clocks.power_mode(tmp_path) is None
    assert "clocks" in describe_machine()


def test_power_mode_of_a_laptop_is_its_profile(tmp_path: Path) -> None:
    tree(tmp_path, {"firmware/acpi/platform_profile": "balanced"})
    assert clocks.power_mode(tmp_path) == "platform profile balanced"


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        ([{"mhz": 3000.0}] * 4 + [{"mhz": 1800.0}] * 4, "fell from 3000 to 1800 MHz"),
        ([{"throttles": 4}, {"throttles": 6}], "2 thermal events"),
        ([{}, {"cooling": 3}], "cooling state 3"),
        ([{}, {"temperature_c": {"cpu": 98.0}}], "98 C"),
        ([{}, {"gpu_throttled": 0x40}], "GPU was throttled"),
    ],
)
def test_throttling_warnings_have_advice(readings: list[dict[str, Any]], words: str) -> None:
    found = throttling_warnings(readings)
    assert any(words in warning.text for warning in found)
    assert all(warning.advice for warning in found)


@pytest.mark.parametrize(
    "readings",
    [
        [],
        [{"mhz": 3000.0}] * 9,
        [{"mhz": 1500.0}, *[{"mhz": 3000.0}] * 8],  # it woke up
        [{"throttles": 5}] * 3,  # long ago
        [{"gpu_throttled": 0x1}] * 3,  # idle
    ],
)
def test_steady_clocks_have_no_warning(readings: list[dict[str, Any]]) -> None:
    assert throttling_warnings(readings) == []


def test_history_reads_again_after_its_spacing(tmp_path: Path) -> None:
    history = clocks.ClockHistory(tree(tmp_path, cpu(2000)), spacing=60)
    history.sample()
    history.sample()
    assert [reading["mhz"] for reading in history.readings] == [2000]
    eager = clocks.ClockHistory(tmp_path, spacing=0)
    eager.sample()
    tree(tmp_path, cpu(1000, throttles=1))
    eager.sample()
    assert [reading["mhz"] for reading in eager.readings] == [2000, 1000]
    assert any("thermal" in warning.text for warning in throttling_warnings(eager.readings))


def rapl(root: Path, microjoules: dict[str, int]) -> Path:
    """Lay out a package and its core domain, which is a part of it."""
    files: dict[str, object] = {}
    for zone, (name, energy) in {
        "intel-rapl:0": ("package-0", microjoules["package"]),
        "intel-rapl:0:0": ("core", microjoules["core"]),
    }.items():
        files[f"class/powercap/{zone}/name"] = name
        files[f"class/powercap/{zone}/energy_uj"] = energy
        files[f"class/powercap/{zone}/max_energy_range_uj"] = 1_000_000_000
    return tree(root, files)


@pytest.mark.parametrize("first", [500_000_000, 999_000_000])  # the second wraps
def test_energy_of_a_cpu_is_its_packages(first: int, tmp_path: Path) -> None:
    rapl(tmp_path, {"package": first, "core": 0})
    used = 0

    def call() -> None:
        nonlocal used
        used += 3_000_000
        rapl(tmp_path, {"package": (first + used) % 1_000_000_000, "core": used // 2})

    found = power.measure_energy(call, frames=2, seconds=0, root=tmp_path)
    assert found.joules_per_frame == pytest.approx(1.5)
    assert found.source == "RAPL 1 package(s)"
    assert found.frames == 2
    assert found.reason is None


@pytest.mark.parametrize(
    "rails",
    [
        {"VDD_IN": 10.0, "VDD_CPU_GPU_CV": 6.0, "VDD_SOC": 2.0},
        {"VDD_GPU_SOC": 5.0, "VDD_CPU_CV": 3.0, "VIN_SYS_5V0": 2.0, "NC": 9.0},
    ],
)
def test_energy_of_a_jetson_is_that_of_its_module(rails: dict[str, float], tmp_path: Path) -> None:
    at, files = "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3", {}
    for channel, (label, watts) in enumerate(rails.items(), 1):
        files[f"{at}/in{channel}_label"] = label
        files[f"{at}/in{channel}_input"] = 5000  # mV
        files[f"{at}/curr{channel}_input"] = int(watts / 5 * 1000)  # mA
    tree(tmp_path, files)
    found = power.measure_energy(lambda: time.sleep(0.02), seconds=0.15, root=tmp_path)
    assert found.watts == pytest.approx(10, rel=0.2)  # the thread's own start and end
    assert found.joules_per_frame == pytest.approx(found.watts * found.seconds / found.frames)
    assert (found.source or "").startswith("INA3221 VDD_")


def test_energy_is_none_with_the_reason(tmp_path: Path) -> None:
    calls: list[int] = []
    found = power.measure_energy(lambda: calls.append(1), root=tmp_path)
    assert found.joules_per_frame is None
    assert "RAPL" in (found.reason or "")
    assert "INA3221" in (found.reason or "")
    assert calls == []  # nothing to measure, so no time is spent


def test_energy_of_an_unknown_module_names_its_rails(tmp_path: Path) -> None:
    tree(tmp_path, {"bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_label": "VDD_NEW"})
    assert "VDD_NEW" in (power.measure_energy(lambda: None, root=tmp_path).reason or "")


def test_energy_of_a_counter_that_only_root_reads_has_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rapl(tmp_path, {"package": 1, "core": 1})

    def refuse(zones: list[Path]) -> list[float]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(power, "_package_joules", refuse)
    assert "only root can read" in (power.measure_energy(lambda: None, root=tmp_path).reason or "")
