"""segnet-export --for deepstream: the file and its configuration, read as nvinfer does."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_segnet import ORT, small

from segnet_deploy import load, runtimes
from segnet_deploy.scenes import draw_scene
from segnet_deploy.types import Array, Frame
from segnet_export import cli, export

SIZE = (45, 53)
MEAN, STD = (104.0, 117.0, 123.0), (50.0, 60.0, 70.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with another mean and another scale per channel, of odd size."""
    path = tmp_path_factory.mktemp("deepstream") / "odd.onnx"
    net = small()
    normalisation: dict[str, Any] = {"mean": MEAN, "std": STD, "channel_order": "rgb"}
    export(net, torch.zeros(1, 3, *SIZE), path, **normalisation, **ORT)
    return path


def read_config(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read(path)
    assert parser.sections() == ["property"]
    return dict(parser["property"])


def preprocess(frame: Frame, config: dict[str, str]) -> Array:
    """Return what nvinfer gives the network: y = net-scale-factor * (x - offset), in planes."""
    assert "offsets" not in config
    assert "mean-file" not in config
    channels, height, width = map(int, config["infer-dims"].split(";"))
    assert frame.shape == (height, width, channels)
    planes = frame if config["model-color-format"] == "1" else frame[..., ::-1]
    scaled = float(config["net-scale-factor"]) * planes.astype(np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], np.float32)


def parse(scores: Array, config: dict[str, str]) -> Array:
    """Return the class of each pixel as nvinfer's parser of segmentation reads output 0."""
    assert scores.dtype == np.float32
    assert config["segmentation-output-order"] == "0"
    classes = np.full(scores.shape[2:], -1)
    best = np.full(scores.shape[2:], -1.0, np.float32)
    for number, plane in enumerate(scores[0]):
        taken = (plane > best) & (plane > float(config["segmentation-threshold"]))
        classes[taken], best[taken] = number, plane[taken]
    return classes


def test_nvinfer_gets_the_labels_of_the_source(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "m.onnx"
    assert cli.main([str(source), "--for", "deepstream", "-o", str(target)]) == 0
    assert f"nvinfer config-file-path={tmp_path / 'm.txt'}" in capsys.readouterr().out
    config = read_config(tmp_path / "m.txt")
    session = onnxruntime.InferenceSession(tmp_path / config["onnx-file"])
    frame = draw_scene(3, *SIZE).frame
    (scores,) = session.run(None, {session.get_inputs()[0].name: preprocess(frame, config)})
    np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    with load(source, runtime="onnxruntime") as segmenter:
        expected = segmenter.segment(frame)
    assert len(np.unique(expected)) > 1
    assert (parse(scores, config) == expected).all()
    with runtimes.open(source, "onnxruntime") as engine:
        x = (preprocess(frame, config) - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(
            STD, (1, 3, 1, 1)
        )
        logits = engine.run_all(x.astype(np.float32))["logits"]
    assert (parse(logits, config) == -1).any()  # why a file of logits does not fit


def test_config_fits_the_file(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{name} {i} {i} {i}\n" for i, name in enumerate("abcde")))
    options = ["--classes", str(names), "--bgr", "--mean", "0", "0", "0", "--std", "1", "1", "1"]
    assert cli.main([str(source), "--for", "deepstream", "-o", str(target), *options]) == 0
    config = read_config(tmp_path / "m.txt")
    model = onnx.load(target)
    (image,), (scores,) = model.graph.input, model.graph.output
    sizes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in (image, scores)]
    assert config["infer-dims"] == ";".join(map(str, sizes[0][1:]))
    assert sizes[1] == [1, int(config["num-detected-classes"]), *SIZE]
    assert config["output-blob-names"] == scores.name
    assert config["net-scale-factor"] == "1"
    assert config["model-color-format"] == "1"
    assert config["network-type"] == "2"
    assert config["maintain-aspect-ratio"] == "0"
    assert (tmp_path / config["labelfile-path"]).read_text() == "a\nb\nc\nd\ne\n"
    assert not {"MaxUnpool", "MaxPool"} & {node.op_type for node in model.graph.node}
    assert not {node.domain for node in model.graph.node} - {""}


def test_file_runs_here_too(source: Path, tmp_path: Path) -> None:
    """What it records of itself holds: its normalisation is none, its channel order the same."""
    target = tmp_path / "m.onnx"
    assert cli.main([str(source), "--for", "deepstream", "-o", str(target)]) == 0
    frame = draw_scene(4, *SIZE).frame
    with load(source, runtime="onnxruntime") as old, load(target, runtime="onnxruntime") as new:
        assert (old.segment(frame) == new.segment(frame)).all()


@pytest.mark.parametrize("last", [torch.nn.Softmax(1), torch.nn.Sigmoid()])
def test_probabilities_stay_as_they_are(last: torch.nn.Module, tmp_path: Path) -> None:
    """A softmax is not applied twice; one channel of a sigmoid becomes two classes."""
    torch.manual_seed(1)
    channels = 4 if isinstance(last, torch.nn.Softmax) else 1
    net = torch.nn.Sequential(torch.nn.Conv2d(3, channels, 3, padding=1), last)
    path, target = tmp_path / "p.onnx", tmp_path / "m.onnx"
    torch.onnx.export(net.eval(), (torch.zeros(1, 3, 8, 8),), path, dynamo=False)
    assert cli.main([str(path), "--for", "deepstream", "-o", str(target)]) == 0
    model = onnx.load(target)
    found = [node.op_type for node in model.graph.node]
    assert found.count("Softmax") == (channels > 1)
    assert read_config(tmp_path / "m.txt")["num-detected-classes"] == str(max(2, channels))


def test_dynamic_batch_is_kept(tmp_path: Path) -> None:
    """nvinfer sets the batch by batch-size."""
    path, target = tmp_path / "d.onnx", tmp_path / "m.onnx"
    export(small(), torch.zeros(1, 3, 32, 32), path, dynamic="batch", **ORT)
    assert cli.main([str(path), "--for", "deepstream", "-o", str(target)]) == 0
    assert onnx.load(target).graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert read_config(tmp_path / "m.txt")["batch-size"] == "1"


@pytest.mark.parametrize(
    ("options", "status", "expected"),
    [
        (["--precision", "fp16"], 2, "--precision does not apply with --for deepstream"),
        (["-o", "m.txt"], 2, "expected a name that ends with .onnx"),
        (["--min-agreement", "2"], 2, "--min-agreement 2"),
    ],
)
def test_wrong_options_write_nothing(
    options: list[str],
    status: int,
    expected: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([str(source), "--for", "deepstream", *options]) == status
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_file_that_returns_labels_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = tmp_path / "frames.onnx", tmp_path / "out"
    folder.mkdir()
    export(small(), torch.zeros(1, 3, 32, 32), path, io="frame", **ORT)
    assert cli.main([str(path), "--for", "deepstream", "-o", str(folder / "m.onnx")]) == 1
    assert "export with --io tensor" in capsys.readouterr().err
    assert list(folder.iterdir()) == []
