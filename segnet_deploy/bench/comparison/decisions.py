"""Whether a ratio of two measurements decides a claim.

A difference counts if the confidence interval of the ratio, round by round, and 5 % around it
exclude 1. Otherwise, and with fewer rounds than an interval needs, the verdict is 'within noise'.
"""

from __future__ import annotations

from segnet_deploy.bench.result import FAILS, HOLDS, NOISE, NetworkResult
from segnet_deploy.bench.timing import NOISE_LIMIT, Timing

MEMORY_NOISE = 8e6  # bytes by which one process differs from the next


def round_ratios(segnet: NetworkResult, other: NetworkResult, runs: int) -> Timing:
    """Return the ratios of the other's time to SegNet's, round by round."""
    medians = []
    for network in (segnet, other):
        samples = network.samples["infer"]
        rounds = [samples[i : i + runs] for i in range(0, len(samples), runs)]
        medians.append([Timing(tuple(values)).median for values in rounds])
    return Timing(tuple(b / a for a, b in zip(*medians, strict=False)))


def decide_time(ratios: Timing, below: bool) -> str:
    """Judge a claim on time from the interval of its ratios; without one it is noise."""
    return decide(*ratios.interval, below=below) if ratios.interval else NOISE


def decide_memory(ratio: float, segnet_bytes: int, below: bool) -> str:
    """Judge a claim on memory from the other's ratio to SegNet's bytes."""
    margin = max(NOISE_LIMIT, MEMORY_NOISE / segnet_bytes)
    return decide(ratio, ratio, below=below, margin=margin)


def decide(low: float, high: float, below: bool, margin: float = NOISE_LIMIT) -> str:
    """Judge the claim that a ratio is `below` 1 (or else above) from its interval."""
    if high < 1 - margin:
        return HOLDS if below else FAILS
    if low > 1 + margin:
        return FAILS if below else HOLDS
    return NOISE
