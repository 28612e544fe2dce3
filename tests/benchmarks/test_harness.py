"""benchmarks/harness: continued result files, cases left out, profiles and child processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.child import ask_child
from harness.measurement import measure_each, time_by_operator
from harness.networks import CLASSES, TorchEngine
from harness.results import resume, save
from segnet_deploy import runtimes
from segnet_deploy.errors import EngineError, InputError


def test_results_of_other_conditions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    common = {"benchmark": "precision", "threads": 1, "clock": "wall"}
    assert resume(path, common) == {}
    save(path, common | {"timing": {}})
    assert "timing" in resume(path, common)
    with pytest.raises(InputError, match="threads 1, now 2"):
        resume(path, common | {"threads": 2})
    path.write_text("damaged")
    with pytest.raises(InputError, match="cannot be read"):
        resume(path, common)


def test_result_is_whole_or_not_written(tmp_path: Path) -> None:
    save(None, {"benchmark": "none"})
    save(tmp_path / "new" / "a.json", {"benchmark": "a"})
    assert json.loads((tmp_path / "new/a.json").read_text()) == {"benchmark": "a"}
    with pytest.raises(InputError, match="cannot make the folder"):
        save(tmp_path / "new/a.json/b.json", {"benchmark": "b"})


def test_case_that_cannot_run_is_left_out_by_name() -> None:
    def measure(case: str) -> int:
        if case == "two":
            raise EngineError("no such runtime")
        return 7

    messages: list[str] = []
    figures = measure_each(["one", "two", "three"], measure, lambda text, *_: messages.append(text))
    assert figures == {"one": 7, "three": 7}
    assert messages == ["left out: two: no such runtime"]


def test_torch_engine_runs_a_function_of_a_tensor() -> None:
    engine = TorchEngine("zeros", lambda x: x[:, :1].expand(1, CLASSES, 4, 6), (4, 6))
    x = np.random.default_rng(0).random((1, 3, 4, 6), dtype=np.float32)
    assert np.array_equal(engine.run(x)[0, CLASSES - 1], x[0, 0])
    assert engine.computes_half
    assert not torch.is_inference_mode_enabled()
    with pytest.raises(InputError, match="expected 1x3x4x6"):
        engine.run(x[:, :, :3])


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ("onnxruntime", {"Conv"}),
        pytest.param("openvino", {"Convolution"}, marks=pytest.mark.needs("openvino")),
        pytest.param("ncnn", {"pool", "unpool", "net"}, marks=pytest.mark.needs("ncnn")),
    ],
)
def test_time_by_operator_names_the_work_of_a_runtime(
    small_model: Path, runtime: str, expected: set[str]
) -> None:
    with runtimes.open(small_model, runtime, 1) as engine:
        x = np.random.default_rng(0).normal(size=(1, 3, 45, 61)).astype(np.float32)
        before = engine.run(x).copy()
        seconds = time_by_operator(engine, x)
        assert np.array_equal(engine.run(x), before)
    names = {"Conv" if name == "FusedConv" else name for name in seconds}
    assert expected <= names
    assert list(seconds.values()) == sorted(seconds.values(), reverse=True)


def test_peak_memory_is_measured_in_a_child(small_model: Path) -> None:
    arguments = {"path": str(small_model), "threads": 1, "operators": False}
    peak = ask_child("harness.peak_memory", "file", runtime="onnxruntime", **arguments)
    assert 20e6 < peak < 2e9
    with pytest.raises(EngineError, match="unknown runtime"):
        ask_child("harness.peak_memory", "file", runtime="none", **arguments)
