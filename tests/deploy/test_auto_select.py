"""`--runtime auto` measures once, remembers the result, and tolerates a damaged cache file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import graphs
import pytest

from segnet_deploy import runtimes
from segnet_deploy.errors import EngineError, UnsupportedModelError
from segnet_deploy.runtimes import auto_select, speed_measurement
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.system.child_process import ChildDiedError

NAMES = ("openvino", "onnxruntime")
REAL_MEASURE = auto_select.measure_in_child


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SEGNET_AUTO")
    path = tmp_path / "m.onnx"
    model = graphs.standard_pair((1, 3, 8, 6), False)
    del model.graph.outputs[0]
    graphs.ir.save(model, path)
    return ModelFile.read(path)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the measurements; onnxruntime is the fastest in each."""
    calls: list[Any] = []

    def apart(*arguments: Any) -> dict[str, float]:
        calls.append(arguments)
        return {"openvino": 0.2, "onnxruntime": 0.1, "ncnn": 0.3}

    monkeypatch.setattr(auto_select, "measure_in_child", apart)
    return calls


@pytest.mark.needs("real-processor")  # measures for 120 s at most
@pytest.mark.needs("openvino")
def test_real_runtimes_are_measured_in_another_process_and_remembered(
    file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    order = auto_select.by_speed(file, 1, NAMES, messages.append)
    assert set(order) == set(NAMES)
    assert len(messages) == 1
    assert messages[0].startswith(f"auto: {order[0]} ")
    assert str(auto_select.cache_file()) in messages[0]
    monkeypatch.setattr(auto_select, "measure_in_child", lambda *_: pytest.fail("measured again"))
    assert auto_select.by_speed(file, 1, NAMES, messages.append) == order
    assert len(messages) == 1


def test_measurement_decides(file: ModelFile, measured: list[Any]) -> None:
    assert auto_select.by_speed(file, None, NAMES) == ["onnxruntime", "openvino"]
    assert runtimes.open(file.path).name == "onnxruntime"
    assert len(measured) in (1, 2)  # twice if `open` also finds ncnn


def test_other_threads_and_other_files_are_measured_apart(
    file: ModelFile, measured: list[Any]
) -> None:
    for threads in (1, 2, 1):
        auto_select.by_speed(file, threads, NAMES)
    assert len(measured) == 2
    file.path.write_bytes(file.path.read_bytes() + b"\x5a\x00")
    auto_select.by_speed(file, 1, NAMES)
    assert len(measured) == 3


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": 3}', b"\xff\xfe", b'{"a": {"seconds"'])
def test_damaged_cache_is_replaced(file: ModelFile, measured: list[Any], content: bytes) -> None:
    auto_select.cache_file().parent.mkdir(parents=True)
    auto_select.cache_file().write_bytes(content)
    assert auto_select.by_speed(file, 1, NAMES)[0] == "onnxruntime"
    assert len(json.loads(auto_select.cache_file().read_text())) == 1


def test_unwritable_cache_is_reported(
    file: ModelFile, measured: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    assert auto_select.by_speed(file, 1, NAMES, messages.append)[0] == "onnxruntime"
    assert "not remembered" in messages[0]


def test_failed_measurement_is_reported_once_and_leaves_the_order(
    file: ModelFile, measured: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    works = auto_select.measure_in_child
    monkeypatch.setattr(auto_select, "measure_in_child", REAL_MEASURE)
    monkeypatch.setattr(auto_select, "TIME_LIMIT", 0.01)
    assert auto_select.by_speed(file, 1, NAMES, messages.append) == list(NAMES)
    assert len(messages) == 1
    assert messages[0].startswith("auto: not measured (it took over 0 s)")
    monkeypatch.setattr(auto_select, "measure_in_child", works)
    assert auto_select.by_speed(file, 1, NAMES, messages.append) == list(NAMES)
    assert len(messages) == 1
    assert not measured
    monkeypatch.setattr(auto_select, "__version__", "a later one")
    assert auto_select.by_speed(file, 1, NAMES) == ["onnxruntime", "openvino"]


def test_process_that_dies_says_why(file: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EngineError, match="with status 1"):
        auto_select.measure_in_child(file.path, 1, NAMES)


def test_runtime_that_raises_anything_is_measured_as_unable(
    file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr("segnet_deploy.runtimes.ncnn.engine.open_file", broken)
    seconds = speed_measurement.measure(file.path, 1, ("ncnn", "onnxruntime"))
    assert seconds["ncnn"] is None
    assert seconds["onnxruntime"]


def test_refusal_of_one_runtime_leaves_the_next(
    file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise UnsupportedModelError("not exact")

    monkeypatch.setenv("SEGNET_AUTO", "order")
    monkeypatch.setattr("segnet_deploy.runtimes.loader.installed", lambda: ["ncnn", "onnxruntime"])
    monkeypatch.setattr("segnet_deploy.runtimes.ncnn.engine.open_file", refuse)
    assert runtimes.open(file.path).name == "onnxruntime"


def test_order_can_be_asked_for(
    file: ModelFile, measured: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGNET_AUTO", "order")
    assert auto_select.by_speed(file, 1, NAMES) == list(NAMES)
    assert not measured


def test_runtime_that_cannot_run_the_file_comes_last(
    file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        auto_select, "measure_in_child", lambda *_: {"openvino": None, "onnxruntime": 1.0}
    )
    assert auto_select.by_speed(file, 1, NAMES) == ["onnxruntime", "openvino"]


def test_runtime_that_ends_its_process_is_left_out(
    file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in native code must not become a crash of the command, also the next time."""

    def measure(path: Path, threads: Any, names: Any) -> dict[str, float | None]:
        if "openvino" in names:
            raise ChildDiedError("the process ended with signal 11")
        return dict.fromkeys(names, 0.1)

    monkeypatch.setattr(auto_select, "measure_in_child", measure)
    assert auto_select.by_speed(file, 1, NAMES) == ["onnxruntime"]
    monkeypatch.setattr(auto_select, "measure_in_child", lambda *_: pytest.fail("measured again"))
    assert auto_select.by_speed(file, 1, NAMES) == ["onnxruntime"]
