"""Statistics, warm-up and warnings, with a clock that the test moves."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from segnet_deploy.bench.timing import Timing, interleaved, repeat, warm_up
from segnet_deploy.bench.warnings import noise_warnings


class Clock:
    """Time passes only during a call."""

    def __init__(self, durations: Iterator[float]):
        self.now = 0.0
        self.durations = durations

    def __call__(self) -> float:
        return self.now

    def call(self) -> None:
        self.now += next(self.durations)


def test_timing_statistics() -> None:
    timing = Timing((4.0, 1.0, 3.0, 2.0))
    assert timing.median == 2.5
    assert timing.percentile(0) == 1
    assert timing.percentile(100) == 4
    assert timing.percentile(90) == pytest.approx(3.7)
    assert timing.mean == 2.5
    assert timing.stdev == pytest.approx(1.2909944)


@pytest.mark.parametrize(
    ("count", "ranks"),
    # Ranks from published tables of the sign test's interval of the median, 95 %.
    [(5, None), (6, (1, 6)), (10, (2, 9)), (15, (4, 12)), (20, (6, 15)), (30, (10, 21))],
)
def test_interval_of_the_median_is_by_order_statistics(
    count: int, ranks: tuple[int, int] | None
) -> None:
    timing = Timing(tuple(float(n) for n in reversed(range(1, count + 1))))
    assert timing.interval == ranks
    assert ("low" in timing.summary()) == (ranks is not None)


def test_interval_covers_the_median_with_its_confidence() -> None:
    draw = random.Random(0)
    covered = 0
    for _ in range(1000):
        interval = Timing(tuple(draw.expovariate(1.0) for _ in range(20))).interval
        assert interval
        covered += interval[0] <= 0.6931 <= interval[1]
    assert 940 <= covered <= 980  # ranks 6 and 15 of 20 cover 95.9 %


def test_outliers_are_found_and_warned_about() -> None:
    steady = (1.0, 1.01, 0.99, 1.02, 0.98) * 4
    assert Timing(steady).outliers == ()
    assert Timing((*steady, 1.5)).outliers == (20,)
    assert Timing((1.0,) * 20 + (1.2,)).outliers == (20,)
    assert Timing((*steady, 1.5)).summary()["outliers"] == 1
    found = noise_warnings(Timing((*steady, 1.5, 1.6)))
    assert any("2 of 22 times are outliers" in warning.text for warning in found)


def test_warm_up_stops_when_stable() -> None:
    clock = Clock(iter([5.0, 2.0, 1.0, 1.0, 1.0, 9.0]))
    assert warm_up(clock.call, clock=clock, time_limit=100) == (5, True)


def test_warm_up_reports_times_that_do_not_settle() -> None:
    clock = Clock(iter([1.0, 2.0] * 50))
    assert warm_up(clock.call, clock=clock, max_runs=6, time_limit=100) == (6, False)


def test_repeat_counts_runs_or_seconds() -> None:
    clock = Clock(iter([1.0] * 50))
    assert repeat(clock.call, runs=7, clock=clock) == 7
    assert repeat(clock.call, duration=10, clock=clock) == 10


def test_interleaved_takes_turns() -> None:
    order: list[str] = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    timings = interleaved(calls, 3, warm_ups=1)
    assert order == ["a", "b"] + ["a", "b"] * 3
    assert {len(t.samples) for t in timings.values()} == {3}


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ((1.0,) * 5, "only 5 runs"),
        ((1.0, 2.0) * 10, "vary by"),
        ((1.0,) * 10 + (1.3,) * 10, "slower than the first"),
    ],
)
def test_noise_warnings_have_advice(samples: tuple[float, ...], words: str) -> None:
    found = noise_warnings(Timing(samples))
    assert any(words in warning.text for warning in found)
    assert all(warning.advice for warning in found)


def test_steady_times_have_no_warning() -> None:
    assert noise_warnings(Timing((1.0,) * 30)) == []
