"""segnet-bench, segnet-doctor and what all commands share, as a user runs them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from documents import validated

from segnet_deploy.bench.run_model import run_model
from segnet_deploy.cli import bench, doctor, predict, triton
from segnet_deploy.native import find, max_unpool
from segnet_deploy.runtimes import diagnosis


def test_bench_prints_a_table_with_the_papers_row(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "bench.json"
    arguments = ["--engine", str(small_model), "--runs", "12", "--json", str(report)]
    assert bench.main(arguments) == 0
    table = capsys.readouterr().out
    for words in ("median", "p99", "frames/s", "paper, Table 6", "422.5"):
        assert words in table
    result = validated(json.loads(report.read_text()))
    assert len(result["samples"]["total"]) == result["runs"] == 12
    parts = [sum(result["samples"][p]) for p in ("pre", "infer", "post")]
    assert sum(parts) == pytest.approx(sum(result["samples"]["total"]))
    assert result["model_bytes"] == small_model.stat().st_size
    assert result["peak_bytes"] > 1e6
    assert result["machine"]["python"]


def test_run_model_reports_progress_and_prints_nothing(
    small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports: list[str] = []

    def progress(text: str, done: int | None = None, total: int | None = None) -> None:
        reports.append(text)

    result = run_model(small_model, "onnxruntime", runs=3, progress=progress)
    assert (result.runs, result.is_measured) == (3, True)
    assert reports == [f"{small_model}: onnxruntime, warming up"]
    assert capsys.readouterr() == ("", "")


def test_bench_json_goes_to_stdout_alone(
    small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--engine", str(small_model), "--runs", "3", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert any("only 3 runs" in w["text"] for w in result["warnings"])


@pytest.mark.parametrize(("option", "value"), [("--runs", "0"), ("--threads", "-1")])
def test_bench_usage_errors(
    small_model: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--engine", str(small_model), option, value]) == 2
    assert f"{option} {value}" in capsys.readouterr().err


def test_bench_of_a_damaged_file_is_one_line(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(small_model.read_bytes()[:2000])
    assert bench.main(["--engine", str(cut)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error


def test_doctor_names_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package without its functions, a library of another machine: findings, no crash."""
    import onnxruntime

    monkeypatch.delattr(onnxruntime, "get_available_providers")
    monkeypatch.setattr(max_unpool, "_library", lambda: None)
    monkeypatch.setattr(find, "find_library", lambda name: Path(f"lib{name}.so"))
    checks = {check.name: check for check in diagnosis.examine()}
    assert checks["onnxruntime"].state == "broken"
    assert "get_available_providers" in checks["onnxruntime"].detail
    assert checks["segnet_cpu"].state == "broken"
    assert checks["segnet_cpu"].advice


def test_doctor_says_what_a_file_contains(
    small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.main([str(small_model), "--json", "-"]) == 0
    document = validated(json.loads(capsys.readouterr().out))
    found = {check["name"]: check["detail"] for check in document["checks"]}
    assert document["works"] is True
    assert found["input"] == "image: 1x3x45x61 float32"
    assert found["output"].endswith(": 1x5x45x61 float32")
    assert found["network"] == "standard form, fp32, tensor io"
    assert "mean [110.0, 110.0, 110.0]" in found["input values"]
    assert "opens it in" in found["onnxruntime"]


def test_doctor_of_a_file_that_nothing_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"x")
    assert doctor.main([str(tmp_path / "bad.onnx")]) == 1
    assert "onnxruntime  does not open it: " in capsys.readouterr().out
    assert doctor.main([str(tmp_path / "no.onnx")]) == 1
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("m.pt", "segnet-export {} -o m.onnx"),
        ("m.caffemodel", "segnet-export {} --prototxt F"),
        ("m.xml", "give m.onnx --runtime openvino"),
        ("m.param", "give m.onnx --runtime ncnn"),
        ("m.tflite", "it runs in LiteRT"),
    ],
)
def test_file_of_another_tool_names_the_next_command(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_bytes(b"x")
    assert bench.main(["--engine", str(file)]) == 1
    assert words.format(file) in capsys.readouterr().err


@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_leaves_the_result_alone(
    quiet: bool, small_model: Path, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switch = ["-q"] if quiet else []
    engine = ["--engine", str(small_model)]
    for main, words in (
        (predict.main, [*engine, str(street), "-o", str(tmp_path / "out")]),
        (bench.main, [*engine, "--runs", "2"]),
        (triton.main, [str(small_model), "-o", str(tmp_path / "models")]),
    ):
        assert main([*words, *switch]) == 0
        out, err = capsys.readouterr()
        assert out
        assert (err == "") == quiet


def test_device_that_cannot_run_the_file_is_refused(
    small_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "")
    monkeypatch.setattr("segnet_deploy.system.cuda_driver.device_count", lambda: 0)
    for engine, device, words in (
        (small_model, "gpu", "expected cpu, cuda or cuda:N"),
        (small_model, "cuda:x", "expected cpu, cuda or cuda:N"),
        (small_model, "cuda:7", "no such GPU answers"),
        ("m.trt", "cpu", "m.trt needs a GPU; give its .onnx file"),
    ):
        assert bench.main(["--engine", str(engine), "--device", device]) == 2
        assert words in capsys.readouterr().err


def test_device_cpu_hides_the_gpus(
    small_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "")
    words = ["--engine", str(small_model), "--device", "cpu", "--runs", "1", "--json", "-"]
    assert bench.main(words) == 0
    assert json.loads(capsys.readouterr().out)["device"] == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_doctor_lists_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--json", "-"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["python"]["state"] == "ok"
    assert checks["onnxruntime"]["state"] == "ok"
    for check in checks.values():
        assert check["state"] in ("ok", "missing", "broken")
    assert doctor.main([]) == 0
    assert "onnxruntime" in capsys.readouterr().out
