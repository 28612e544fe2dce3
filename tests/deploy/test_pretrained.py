"""The networks that the package contains: by name, in every runtime, as accurate as they say."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segnet_deploy import (
    InputError,
    PretrainedNet,
    Segmenter,
    convert,
    list_pretrained,
    load,
    runtimes,
)
from segnet_deploy.classes import CAMVID
from segnet_deploy.cli import predict
from segnet_deploy.metadata import Metadata
from segnet_deploy.pretrained import find_file
from segnet_deploy.runtimes import onnxruntime
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.scenes import draw_scene

NETS = list_pretrained()
UNSEEN = range(1_000_000, 1_000_008)


def mean_iou(segmenter: Segmenter, size: tuple[int, int]) -> float:
    """Return the mean IoU of eight scenes that no training used."""
    count = len(CAMVID.names)
    matrix = np.zeros((count, count))
    for seed in UNSEEN:
        scene = draw_scene(seed, *size)
        pairs = scene.labels.astype(np.int64) * count + segmenter.segment(scene.frame)
        matrix += np.bincount(pairs.ravel(), minlength=count**2).reshape(count, count)
    hits = matrix.diagonal()
    return float(np.nanmean(hits / (matrix.sum(0) + matrix.sum(1) - hits)))


def test_both_are_there_and_small() -> None:
    assert [net.name for net in NETS] == ["demo", "street"]
    assert sum(net.path.stat().st_size for net in NETS) < 2_000_000
    assert {net.licence for net in NETS} == {"Apache-2.0"}


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_mean_iou_is_the_stated_one(net: PretrainedNet) -> None:
    """On eight of the fifty scenes that the stated one was measured on."""
    with load(net.name, "onnxruntime") as segmenter:
        assert segmenter.metadata.classes == CAMVID.names
        found = mean_iou(segmenter, net.size)
    assert found == pytest.approx(net.mean_iou, abs=0.05)


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
@pytest.mark.parametrize("runtime", runtimes.installed())
def test_each_runtime_gives_the_same_labels(net: PretrainedNet, runtime: str) -> None:
    """As ONNX Runtime's own operators do, without a library of ours."""
    frame = draw_scene(UNSEEN[3], *net.size).frame
    with load(net.path, runtime) as segmenter:
        x = segmenter.preprocess([frame]).x
        logits = np.array(segmenter.infer(x))
    file = ModelFile.read(net.path)
    with onnxruntime.open_file(file, None, operators=False) as engine:
        expected = np.array(engine.run(x))
    assert (logits.argmax(1) == expected.argmax(1)).mean() >= 0.9999
    assert np.median(np.abs(logits - expected)) < 1e-4


def test_demo_is_the_checkpoint_of_the_demo() -> None:
    """Its labels are those of benchmarks/demo/segnet_demo.pt in PyTorch."""
    torch = pytest.importorskip("torch")
    from segnet_export import load_checkpoint

    path = Path(__file__).parents[2] / "benchmarks/demo/segnet_demo.pt"
    network = load_checkpoint(path).model
    with load("demo", "onnxruntime") as segmenter:
        prepared = segmenter.preprocess([draw_scene(UNSEEN[0]).frame])
        labels = np.array(segmenter.infer(prepared.x)).argmax(1)
    with torch.no_grad():
        expected = network(torch.from_numpy(prepared.x)).argmax(1).numpy()
    assert (labels == expected).mean() >= 0.998  # its weights are rounded to fp16


def test_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "street").mkdir()
    assert find_file("street") == NETS[1].path
    (tmp_path / "demo").write_bytes(b"no model")
    with pytest.raises(InputError, match="demo is not an ONNX file"):
        load("demo")


def test_unknown_name_is_answered_with_those_there_are(
    street: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"no such file: steet; .* demo, street"):
        load("steet")
    assert predict.main(["--engine", "steet", str(street)]) == 1
    assert "error: no such file: steet; " in capsys.readouterr().err
    for path in ("steet.onnx", "models/steet"):
        with pytest.raises(InputError, match=r"expected an ONNX file from segnet-export$"):
            load(path)


def test_networks_are_converted_by_name(tmp_path: Path) -> None:
    """The written file has fp32 weights and the network's metadata."""
    result = convert("demo", tmp_path / "lowered.onnx", "lowered")
    assert (result.changed, result.agreement) == (5, 1.0)
    file = ModelFile.read(tmp_path / "lowered.onnx")
    assert Metadata.from_props(file.props).classes == CAMVID.names
    assert file.path.stat().st_size > 1_500_000


def test_predict_takes_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), draw_scene(UNSEEN[0]).frame)
    assert predict.main(["--engine", "demo", str(tmp_path / "a.png")]) == 0
    assert "image 1/1 a.png 180x240: Road " in capsys.readouterr().out
