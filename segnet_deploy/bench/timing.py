"""Time calls: warm-up, samples and their statistics, in seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from segnet_deploy.types import Clock

NOISE_LIMIT = 0.05
CONFIDENCE = 0.95
OUTLIER_LIMIT = 3.5  # modified z-scores: Iglewicz and Hoaglin, How to Detect and Handle Outliers
OUTLIER_SHARE = 0.05
NORMAL_MAD = 0.6745  # the MAD of a standard normal distribution


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of one duration, in seconds, in order of time."""

    samples: tuple[float, ...]

    @cached_property
    def _sorted(self) -> list[float]:
        return sorted(self.samples)

    def percentile(self, percent: float) -> float:
        """Return a percentile, interpolated linearly between the two nearest samples."""
        position = (len(self._sorted) - 1) * percent / 100
        low = math.floor(position)
        high = min(low + 1, len(self._sorted) - 1)
        return self._sorted[low] + (self._sorted[high] - self._sorted[low]) * (position - low)

    @property
    def median(self) -> float:
        """The middle sample."""
        return self.percentile(50)

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return math.fsum(self.samples) / len(self.samples)

    @property
    def stdev(self) -> float:
        """The sample standard deviation, 0 for one sample."""
        if len(self.samples) < 2:
            return 0.0
        mean = self.mean
        return math.sqrt(math.fsum((s - mean) ** 2 for s in self.samples) / (len(self.samples) - 1))

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval of the median at CONFIDENCE; None below 6 samples.

        It is the order statistics (k, n + 1 - k) with the largest k whose coverage, a sum of
        binomials, is at least CONFIDENCE. It assumes nothing about the distribution.
        Source: David and Nagaraja, Order Statistics, section 7.1.
        """
        n, tail, rank = len(self.samples), 0.0, 0
        while rank < n // 2:
            log_binomial = math.lgamma(n + 1) - math.lgamma(rank + 1) - math.lgamma(n - rank + 1)
            tail += math.exp(log_binomial - n * math.log(2))
            if 2 * tail > 1 - CONFIDENCE:
                break
            rank += 1
        return (self._sorted[rank - 1], self._sorted[n - rank]) if rank else None

    @property
    def outliers(self) -> tuple[int, ...]:
        """Indices of the samples far from the median, by the median absolute deviation."""
        deviations = [abs(sample - self.median) for sample in self.samples]
        spread = Timing(tuple(deviations)).median
        # If half of the samples are equal, 0.1 % of the median replaces the zero spread.
        limit = OUTLIER_LIMIT * max(spread, 1e-3 * abs(self.median)) / NORMAL_MAD
        return tuple(index for index, value in enumerate(deviations) if value > limit)

    def summary(self) -> dict[str, float]:
        """Return the statistics by name, in seconds; `outliers` is a count.

        `low` and `high`, the interval of the median, need 6 samples.
        """
        names = {"median": 50, "p90": 90, "p95": 95, "p99": 99}
        values = {name: self.percentile(percent) for name, percent in names.items()}
        values |= {"mean": self.mean, "stdev": self.stdev, "min": self._sorted[0]}
        if self.interval:
            values |= dict(zip(("low", "high"), self.interval, strict=True))
        return values | {"outliers": len(self.outliers)}


def warm_up(
    call: Callable[[], object],
    *,
    clock: Clock = time.perf_counter,
    min_runs: int = 3,
    max_runs: int = 20,
    time_limit: float = 15.0,
    tolerance: float = NOISE_LIMIT,
) -> tuple[int, bool]:
    """Call until the last three times agree; return the number of calls and whether they agree.

    Stops after `max_runs` calls or `time_limit` seconds.
    """
    started, times = clock(), list[float]()
    while len(times) < max_runs and (len(times) < min_runs or clock() - started < time_limit):
        before = clock()
        call()
        times.append(clock() - before)
        last = times[-3:]
        if len(times) >= min_runs and max(last) - min(last) <= tolerance * sorted(last)[1]:
            return len(times), True
    return len(times), False


def repeat(
    call: Callable[[], object],
    *,
    runs: int | None = None,
    duration: float | None = None,
    clock: Clock = time.perf_counter,
) -> int:
    """Call `runs` times, or at least 3 times and for `duration` seconds; return the number."""
    started, done = clock(), 0
    while done < (runs or 3) or (
        runs is None and duration is not None and clock() - started < duration
    ):
        call()
        done += 1
    return done


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warm_ups: int = 1,
    pause: float = 0.0,
    clock: Clock = time.perf_counter,
    measure: Callable[[Callable[[], object]], float] | None = None,
) -> dict[str, Timing]:
    """Time each call once per round, so that a noisy minute affects all of them alike.

    A `pause` in seconds before each call lets the waiting threads of the last one stop spinning.
    `measure` returns the seconds of a call by another way than `clock`, such as events of a GPU.
    """

    def by_clock(call: Callable[[], object]) -> float:
        before = clock()
        call()
        return clock() - before

    for call in calls.values():
        for _ in range(warm_ups):
            call()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(pause)
            samples[name].append((measure or by_clock)(call))
    return {name: Timing(tuple(values)) for name, values in samples.items()}
