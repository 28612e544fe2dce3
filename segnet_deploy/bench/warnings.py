"""Warnings about a measurement: values that state a problem and give advice."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segnet_deploy.bench.timing import NOISE_LIMIT, OUTLIER_SHARE, Timing

TREND_LIMIT = 1.1  # median of the last third over that of the first
CLOCK_DROP_LIMIT = 0.9  # clock rate of the last third over that of the first
HOT_C = 95.0
# NVML's bits for power cap, slowdown, thermal and power brake (segnet_deploy/system/nvml.py).
GPU_THROTTLE_BITS = 0xEC


@dataclass(frozen=True)
class MeasurementWarning:
    """A reason not to trust a result, and what to do about it."""

    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.text}: {self.advice}"


RELOADED = MeasurementWarning(
    "memory was short, so the network was loaded more than once",
    "close other programs, or compare fewer networks",
)


def noise_warnings(timing: Timing, settled: bool = True) -> list[MeasurementWarning]:
    """Return what makes `timing` unreliable; `settled` is whether the warm-up became stable."""
    samples, median = timing.samples, timing.median
    found = []
    if len(samples) < 10:
        found.append((f"only {len(samples)} runs, so p95 and p99 are guesses", "raise --runs"))
    if not settled:
        found.append(("times did not settle during the warm-up", "close other programs, run again"))
    spread = timing.stdev / median if median else 0.0
    if spread > NOISE_LIMIT:
        advice = "close other programs, fix --threads, or raise --runs"
        found.append((f"times vary by {spread:.0%} of the median", advice))
    if len(timing.outliers) > OUTLIER_SHARE * len(samples):
        advice = "close other programs; outliers shift the mean, not the median"
        found.append((f"{len(timing.outliers)} of {len(samples)} times are outliers", advice))
    third = len(samples) // 3
    if third >= 3:
        early, late = Timing(samples[:third]).median, Timing(samples[-third:]).median
        if late > early * TREND_LIMIT:
            text = f"the last third is {late / early - 1:.0%} slower than the first"
            found.append((text, "the machine may be too hot: check cooling and the power mode"))
    return [MeasurementWarning(*pair) for pair in found]


def throttling_warnings(readings: Sequence[dict[str, Any]]) -> list[MeasurementWarning]:
    """Return what clock `readings`, in order of time, show about the times measured meanwhile.

    A reading is one of segnet_deploy.system.clocks.read.
    """
    if len(readings) < 2:
        return []
    found = []
    events = readings[-1].get("throttles", 0) - readings[0].get("throttles", 0)
    cooling = max(reading.get("cooling", 0) for reading in readings)
    if events > 0 or cooling > 0:
        evidence = f"{events} thermal events" if events > 0 else f"cooling state {cooling}"
        found.append((f"the CPU was throttled ({evidence})", "cool the machine, run again"))
    rates = [reading["mhz"] for reading in readings if "mhz" in reading]
    third = len(rates) // 3
    if third:
        early, late = statistics.median(rates[:third]), statistics.median(rates[-third:])
        if late < early * CLOCK_DROP_LIMIT:
            advice = "cool the machine, or fix the clock (governor performance, jetson_clocks)"
            found.append((f"the CPU's clock fell from {early:.0f} to {late:.0f} MHz", advice))
    if any(int(reading.get("gpu_throttled") or 0) & GPU_THROTTLE_BITS for reading in readings):
        found.append(("the GPU was throttled", "cool it, or raise its power limit"))
    hottest = max(max(r.get("temperature_c", {"": 0.0}).values()) for r in readings)
    if hottest >= HOT_C:
        found.append((f"a sensor reads {hottest:.0f} C", "cool the machine, run again"))
    return [MeasurementWarning(*pair) for pair in found]
