"""Statistics, warm-up and warnings, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from segnet_deploy.measure import Timing, interleaved, noise_warnings, repeat, warm_up


class Clock:
    """Time passes only when a call takes it."""

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


def test_warm_up_stops_when_stable() -> None:
    clock = Clock(iter([5.0, 2.0, 1.0, 1.0, 1.0, 9.0]))
    assert warm_up(clock.call, clock=clock, limit=100) == (5, True)


def test_warm_up_gives_up_and_says_so() -> None:
    clock = Clock(iter([1.0, 2.0] * 50))
    assert warm_up(clock.call, clock=clock, most=6, limit=100) == (6, False)


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
def test_noise_is_named_with_advice(samples: tuple[float, ...], words: str) -> None:
    found = noise_warnings(Timing(samples))
    assert any(words in caution.text for caution in found)
    assert all(caution.advice for caution in found)


def test_steady_times_have_no_warning() -> None:
    assert noise_warnings(Timing((1.0,) * 30)) == []
