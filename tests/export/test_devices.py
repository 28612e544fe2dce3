"""segnet-export --for litert, rknn and coreml."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from small_segnet import ORT, small

from segnet_deploy import runtimes
from segnet_deploy.accuracy.gate_inputs import GateInput
from segnet_deploy.conversion.compare_files import check_outputs
from segnet_deploy.errors import ParityError, UnsupportedModelError
from segnet_deploy.passes.to_opset import to_opset
from segnet_deploy.runtimes.model_file import load_model
from segnet_export import cli, export


@pytest.fixture(scope="module")
def odd_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("devices") / "odd.onnx"
    export(small(), torch.zeros(1, 3, 45, 53), path, **ORT)
    return path


def interpreter(folder: Path, text: str) -> str:
    """Return a program that answers as an interpreter with these packages does."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def answer(python: str, onnx2tf: str) -> str:
    packages = '"ai-edge-litert": "2", "tensorflow": "2", "tf-keras": "2"'
    versions = f'{{"python": {python}, "onnx2tf": {onnx2tf}, {packages}}}'
    return f"""[ "$3" = versions ] && echo '{versions}'"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (answer("[3, 11]", "null"), "needs Python 3.12"),
        (answer("[3, 12]", "null"), "does not have onnx2tf;"),
        ("true", "is not a Python interpreter"),
        (
            answer("[3, 12]", '"1"') + " || { echo no such operator >&2; exit 1; }",
            "no such operator",
        ),
    ],
)
def test_litert_without_its_packages_is_one_line_and_writes_nothing(
    text: str, expected: str, odd_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "m.tflite"
    target.parent.mkdir()
    python = interpreter(tmp_path, text)
    arguments = [str(odd_file), "--for", "litert", "--litert-python", python, "-o", str(target)]
    assert cli.main(arguments) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(error) == 1
    assert expected in error[0]
    assert "pip install" in error[0] or "no file was written" in error[0]
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--for", "coreml"], "docs/how-to/devices.md"),
        (["--for", "rknn", "--precision", "int8"], "--precision does not apply"),
        (["--for", "litert", "--form", "plugin"], "omit --form"),
        (["--for", "rknn", "--litert-python", sys.executable], "requires --for litert"),
        (["--for", "rknn", "--engine", "m.trt"], "--build-engine does not apply"),
    ],
)
def test_device_options_that_contradict_are_usage_errors(
    options: list[str], expected: str, odd_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([str(odd_file), *options]) == 2
    assert expected in capsys.readouterr().err


def test_rknn_file_is_lowered_in_opset_19_and_equal(
    odd_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "m_rknn.onnx"
    assert cli.main([str(odd_file), "--for", "rknn", "-o", str(target)]) == 0
    assert "mean_values=" in capsys.readouterr().out
    model = onnx.load(target)
    assert model.opset_import[0].version == 19
    assert not {"MaxUnpool", "MaxPool"} & {node.op_type for node in model.graph.node}
    x = np.random.default_rng(0).integers(0, 3, (1, 3, 45, 53)).astype(np.float32)  # ties
    results = [runtimes.open(path, "onnxruntime").run_all(x) for path in (odd_file, target)]
    assert np.array_equal(results[0]["logits"], results[1]["logits"])


def test_opset_is_not_lowered_below_an_operator(odd_file: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="is defined by opset"):
        to_opset(load_model(odd_file), 10)


def test_dynamic_and_reduced_files_are_refused(
    odd_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"--dynamic": tmp_path / "dynamic.onnx", "fp32": tmp_path / "half.onnx"}
    model = onnx.load(odd_file)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(model, files["--dynamic"])
    half = [str(odd_file), "--precision", "fp16", "-o", str(files["fp32"])]
    assert cli.main([*half, "--min-agreement", "0"]) == 0
    for expected, path in files.items():
        target = tmp_path / "out.onnx"
        assert cli.main([str(path), "--for", "rknn", "-o", str(target)]) == 1
        assert expected in capsys.readouterr().err
        assert not target.exists()


def test_gate_refuses_wrong_labels_of_one_kind_of_input() -> None:
    x = np.zeros((1, 3, 8, 8), np.float32)
    inputs = [GateInput("natural", x, x), GateInput("adversarial ties", x, x)]
    right: list[Any] = [{"logits": np.random.default_rng(i).random((1, 4, 8, 8))} for i in (0, 1)]
    wrong = [right[0], {"logits": right[1]["logits"][:, ::-1]}]
    assert check_outputs("LiteRT agrees", "try", inputs, right, right) == (1.0, 0.0)
    with pytest.raises(ParityError, match=r"of adversarial ties inputs .* no file was written"):
        check_outputs("LiteRT agrees", "try", inputs, right, wrong)
    with pytest.raises(ParityError, match="the results are"):
        check_outputs("LiteRT agrees", "try", inputs, right, [right[0], {}])


@pytest.mark.needs("litert")
def test_litert_file_of_odd_sizes_is_exact(
    odd_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "m.tflite"
    python = os.environ["LITERT_PYTHON"]
    arguments = [str(odd_file), "--for", "litert", "--litert-python", python, "-o", str(target)]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "labels agree on 100.0000% of 6 inputs" in out
    assert "1x45x53x3 float32, BGR order" in out
    assert target.stat().st_size > 100_000
