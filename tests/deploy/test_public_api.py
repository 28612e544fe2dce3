"""Every public name of segnet_deploy has a docstring; its examples run as written."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import caffe_nets
import caffe_schema
import pytest
from docstrings import failures

import segnet_deploy
from segnet_deploy.passes.lower_unpooling import lower_unpooling
from segnet_deploy.runtimes.model_file import load_model, save_model

NAMED_ELSEWHERE = {
    "BatchOptions": "segment_archive",
    "BatchResult": "segment_archive",
    "BuildOptions": "build",
    "Built": "build",
    "CaffeResult": "convert_caffe",
    "Comparison": "compare",
    "ComparisonExtras": "compare",
    "ComparisonSettings": "compare",
    "ConvertResult": "convert",
    "Example": "find_examples",
    "InputReport": "predict_files",
    "Predictions": "predict_files",
    "PretrainedNet": "list_pretrained",
    "QuantiseResult": "quantise",
    "RunResult": "run_model",
    "Repository": "write_repository",
    "ServingOptions": "write_repository",
    "TuneResult": "tune",
    "TuneSettings": "tune",
    **dict.fromkeys(
        (name for name in segnet_deploy.__all__ if name.endswith("Error")), "SegNetError"
    ),
}
"""Names whose example is part of another name's."""

NAMES = [name for name in segnet_deploy.__all__ if name != "__version__"]


def examples(name: str) -> list[doctest.DocTest]:
    """Return the examples in the docstring of a public name."""
    names = {name: getattr(segnet_deploy, name) for name in segnet_deploy.__all__}
    text = names[name].__doc__
    found = doctest.DocTestParser().get_doctest(text, dict(names), name, None, None)
    return [found] if found.examples else []


@pytest.fixture
def folder(small_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with the files of the examples: segnet.onnx, lowered.onnx, net.* and data/."""
    text = caffe_nets.NETS["train"]
    weights = caffe_nets.seeded(text, (1, 3, 24, 32))
    (tmp_path / "net.prototxt").write_text(text)
    (tmp_path / "net.caffemodel").write_bytes(caffe_schema.caffemodel(weights))
    shutil.copy(small_model, tmp_path / "segnet.onnx")
    save_model(lower_unpooling(load_model(small_model)).model, tmp_path / "lowered.onnx")
    monkeypatch.chdir(tmp_path)
    return data


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.needs("tensorrt-rtx"))
        if name in ("build", "rebuild")
        else name
        for name in NAMES
    ],
)
@pytest.mark.usefixtures("folder")
def test_example_runs(name: str) -> None:
    assert getattr(segnet_deploy, name).__doc__
    found = examples(name)
    assert found or examples(NAMED_ELSEWHERE[name])
    assert not failures(found)
