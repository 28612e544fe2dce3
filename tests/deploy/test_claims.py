"""Verdicts on the paper's claims, from constructed comparisons."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from segnet_deploy.bench.comparison.claims import judge_claims
from segnet_deploy.bench.result import Comparison, NetworkResult, Verdict


def network(name: str, seconds: float, megabytes: float, model: float) -> NetworkResult:
    samples = [seconds * (1 + 0.01 * (i % 3)) for i in range(16)]
    return NetworkResult(
        name=name,
        paper=name,
        form="standard",
        input=[1, 3, 360, 480],
        samples={"infer": samples},
        seconds={"infer": {"median": samples[1]}},
        baseline_bytes=50_000_000,
        running_bytes=int(50e6 + megabytes * 1e6),
        model_bytes=int(model * 1e6),
        gmac=10.0,
        index_windows=[64 * 180 * 240, 100],
        index_bytes=100,
    )


# The paper's own figures: the claims on them must come out as Table 6 says.
PAPER = (
    network("SegNet", 0.4225, 1052, 117),
    network("DeepLab-LargeFOV", 0.11006, 1993, 83),
    network("FCN (learnt deconv)", 0.31709, 1806, 539),
    network("DeconvNet", 0.47465, 1872, 877),
)


def judge(networks: list[NetworkResult]) -> dict[str, Verdict]:
    comparison = Comparison(networks=networks, settings={"runs": 2})
    return {verdict.claim: verdict for verdict in judge_claims(comparison)}


def test_verdicts_on_the_papers_own_figures() -> None:
    found = judge(list(PAPER))
    failed = {claim for claim, verdict in found.items() if verdict.verdict != "holds"}
    assert {claim.split(":")[0] for claim in failed} == {
        "Pooling indices need 2 bits per window",
        "Smaller and faster than other competing architectures",
    }
    slower = found["SegNet is slower than DeepLab-LargeFOV"]
    assert slower.ratio == pytest.approx(slower.paper_ratio, rel=0.03)
    indices = next(v for claim, v in found.items() if claim.startswith("Pooling"))
    assert "0.69 MB" in indices.figures
    assert "0.17 MB" in indices.figures
    assert all(verdict.note.endswith(".") for verdict in found.values())


def test_verdict_turns_with_the_figures() -> None:
    networks = copy.deepcopy(list(PAPER))
    networks[3] = network("DeconvNet", 0.2, 500, 50)
    found = judge(networks)
    assert found["SegNet is faster than DeconvNet"].verdict == "does not hold"
    assert found["SegNet's model is smaller than DeconvNet's"].verdict == "does not hold"
    least = found["SegNet needs the least memory for inference"]
    assert least.verdict == "does not hold"
    assert "nearest: DeconvNet" in least.figures


def test_near_times_are_within_noise() -> None:
    networks = copy.deepcopy(list(PAPER))
    networks[3] = network("DeconvNet", 0.43, 1072, 117)
    found = judge(networks)
    assert found["SegNet is faster than DeconvNet"].verdict == "within noise"
    assert found["SegNet needs the least memory for inference"].verdict == "within noise"


EFFICIENT = "Efficient both in memory and computational time during inference"


def test_efficient_is_judged_as_the_times_are() -> None:
    networks = copy.deepcopy(list(PAPER))
    networks[1] = network("DeepLab-LargeFOV", 0.39, 500, 83)
    assert judge(networks)[EFFICIENT].verdict == "does not hold"
    # The medians say the same, the rounds now one and now the other.
    near = networks[1].samples["infer"]
    networks[1].samples["infer"] = [s * (1.0, 1.3)[i // 2 % 2] for i, s in enumerate(near)]
    found = judge(networks)
    assert found["SegNet is slower than DeepLab-LargeFOV"].verdict == "within noise"
    assert found[EFFICIENT].verdict == "within noise"
    assert "undecided: DeepLab-LargeFOV" in found[EFFICIENT].figures


@pytest.mark.parametrize(
    "change",
    [
        {"paper": "SegNet-Basic"},  # no rival in the paper's Table 6
        {"input": [1, 3, 224, 224]},
        {"running_bytes": None},  # not known is not little
    ],
)
def test_efficient_counts_no_network_that_cannot_be_compared(change: dict[str, Any]) -> None:
    networks = [
        *copy.deepcopy(list(PAPER))[:2],
        replace(network("DeconvNet", 0.1, 100, 50), **change),
    ]
    assert judge(networks)[EFFICIENT].verdict == "holds"


def test_few_rounds_decide_no_time() -> None:
    networks = copy.deepcopy(list(PAPER))
    for one in networks:
        one.samples["infer"] = one.samples["infer"][:10]
    found = judge(networks)
    assert found["SegNet is faster than DeconvNet"].verdict == "within noise"
    assert "5 rounds are too few" in found["SegNet is faster than DeconvNet"].figures
    assert found["SegNet's model is smaller than DeconvNet's"].verdict == "holds"
