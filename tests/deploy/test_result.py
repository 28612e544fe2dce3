"""The typed result of a measurement: its JSON, and files that earlier versions wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from documents import validated

from segnet_deploy.bench.paper import table_6
from segnet_deploy.bench.result import (
    Comparison,
    MeasurementWarning,
    NetworkResult,
    RunResult,
    Verdict,
    read_result,
)
from segnet_deploy.bench.timing import Timing
from segnet_deploy.errors import InputError
from segnet_deploy.system.power import Energy

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
INFER = {"infer": Timing((0.4, 0.6)).summary()}


def run() -> RunResult:
    return RunResult(
        engine="a.onnx",
        seconds=INFER,
        samples={"infer": [0.4, 0.6]},
        warnings=[MeasurementWarning("slow", "wait")],
        baseline_bytes=100,
        peak_bytes=150,
        power=Energy(reason="no sensor"),
        input=[1, 3, None, None],
        frame=[360, 480],
        threads=2,
        runs=2,
        paper=table_6(),
    )


def comparison() -> Comparison:
    network = NetworkResult(name="a", engine="a.onnx", seconds=INFER, memory_timeline=[[0.1, 5]])
    verdict = Verdict(claim="c", verdict="holds", ratio=1.5)
    failed = NetworkResult(name="b", error="out of memory")
    return Comparison(
        networks=[network, failed], verdicts=[verdict], settings={"threads": 1, "size": [45, 61]}
    )


@pytest.mark.parametrize("result", [run(), comparison()])
def test_result_survives_its_json(result: Any, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result.to_json()))
    assert read_result(path) == result
    validated(json.loads(path.read_text()))


def test_run_of_an_earlier_version_is_read() -> None:
    content = run().to_json()
    for key in ("kind", "format", "baseline_bytes", "layers"):
        del content[key]
    assert RunResult.from_json(content) == run()
    network = RunResult.from_json(content).as_comparison().measured[0]
    assert (network.name, network.paper, network.added_bytes) == ("a.onnx", "SegNet", 50)


def test_network_that_runs_in_less_than_the_baseline_adds_nothing() -> None:
    network = NetworkResult(name="a", baseline_bytes=132_263_936, running_bytes=132_259_840)
    assert network.running_added_bytes == 0
    network.running_bytes = 132_264_960
    assert network.running_added_bytes == 1024


@pytest.mark.parametrize("path", sorted(RESULTS.glob("paper-*.json")), ids=lambda path: path.name)
def test_published_comparison_keeps_every_value(path: Path) -> None:
    content = json.loads(path.read_text())
    result = read_result(path)
    assert isinstance(result, Comparison)
    again = result.to_json()
    for before, after in zip(content.pop("networks"), again.pop("networks"), strict=True):
        assert {key: after[key] for key in before} == before
    assert again == content


def test_schema_documents_every_key() -> None:
    schema = (RESULTS.parents[1] / "docs/how-to/report.md").read_text()
    content = comparison().to_json()
    objects = [run().to_json(), content, content["networks"][0], content["verdicts"][0]]
    keys = {key for values in objects for key in values}
    assert [key for key in sorted(keys) if f"`{key}`" not in schema] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seconds": 5}, r"seconds is 5; expected dict"),
        ({"seconds": {"infer": {"median": "fast"}}}, r"seconds is 'fast'; expected float"),
        ({"warnings": ["slow"]}, r"warnings is 'slow'; expected an object"),
        ({"warnings": [{"text": "slow"}]}, r"warnings is incomplete .*advice"),
        ({"format": 2}, "format 2; expected 1"),
        ({"kind": "table"}, "not a result of segnet-bench"),
    ],
)
def test_damaged_result_is_refused_with_its_key(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=rf"x\.json.*{words}"):
        RunResult.from_json(run().to_json() | change, "x.json")
