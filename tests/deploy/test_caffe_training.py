"""Training snapshots of Caffe: refused, recognised, and given their statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import caffe_nets
import caffe_reference
import caffe_schema
import cv2
import numpy as np
import pytest

from segnet_deploy import runtimes
from segnet_deploy.caffe.convert_caffe import CaffeResult, convert_caffe
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.scenes import draw_scene

SIZE = (24, 32)
INFERENCE = (
    caffe_nets.NETS["train"]
    .replace("upsample_h: 7 upsample_w: 9", "upsample_h: 12 upsample_w: 16")
    .replace("pad_out_h: true", "")
)
LEARN = INFERENCE.replace("bn_mode: INFERENCE", "")


@pytest.fixture
def snapshot() -> dict[str, Any]:
    """Return weights as training leaves them: scales near 1, shifts near 0."""
    weights = caffe_nets.seeded(LEARN, (1, 3, *SIZE))
    rng = np.random.default_rng(0)
    for name, blobs in weights.items():
        if name.endswith("_bn"):
            blobs[0] = rng.normal(1, 0.02, blobs[0].shape).astype(np.float32)
            blobs[1] = rng.normal(0, 0.02, blobs[1].shape).astype(np.float32)
    return weights


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of five drawn streets: two batches of two, and one left over."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(5):
        cv2.imwrite(str(folder / f"{seed}.png"), draw_scene(seed, *SIZE).frame)
    return folder


def export(text: str, weights: Any, folder: Path, **options: Any) -> CaffeResult:
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").write_bytes(caffe_schema.caffemodel(weights))
    files = [folder / name for name in ("net.caffemodel", "net.prototxt", "net.onnx")]
    return convert_caffe(*files, size=SIZE, **options)


def test_bn_in_training_mode_is_refused_with_the_command(
    snapshot: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedModelError, match=r"'conv1_bn' .*LEARN.*--bn-statistics DIR"):
        export(LEARN, snapshot, tmp_path)
    assert not (tmp_path / "net.onnx").exists()


def test_snapshot_in_inference_mode_is_a_warning(snapshot: dict[str, Any], tmp_path: Path) -> None:
    (warning, *_) = export(INFERENCE, snapshot, tmp_path).warnings
    assert "training snapshot" in warning
    assert "--bn-statistics" in warning


def test_one_class_everywhere_is_a_warning(tmp_path: Path) -> None:
    weights = caffe_nets.seeded(INFERENCE, (1, 3, *SIZE))
    assert export(INFERENCE, weights, tmp_path).warnings == ()
    weights["conv1_D"][1][2] += 1e6
    (warning,) = export(INFERENCE, weights, tmp_path).warnings
    assert "100.0% of the labels of a natural image are class 2" in warning


def test_statistics_are_those_of_the_authors_script(
    snapshot: dict[str, Any], images: Path, tmp_path: Path
) -> None:
    result = export(LEARN, snapshot, tmp_path, bn_statistics=images)
    assert result.warnings == ()
    frames = [draw_scene(seed, *SIZE).frame for seed in range(4)]
    batches = [np.stack(frames[i : i + 2]).transpose(0, 3, 1, 2).astype(float) for i in (0, 2)]
    tops = LEARN
    for name in ("conv1", "conv2", "conv2_D"):
        tops = tops.replace(
            f'name: "{name}_bn" type: "BN" bottom: "{name}" top: "{name}"',
            f'name: "{name}_bn" type: "BN" bottom: "{name}" top: "{name}" '
            f'top: "{name}-mean" top: "{name}-var"',
        )
    blobs = [caffe_reference.run(tops, snapshot, x) for x in batches]
    finished = {name: list(arrays) for name, arrays in snapshot.items()}
    for name in ("conv1", "conv2", "conv2_D"):
        mean = sum(found[f"{name}-mean"] for found in blobs) / 2
        variance = sum(found[f"{name}-var"] for found in blobs) / 2
        scale, shift = snapshot[f"{name}_bn"]
        factor = scale / np.sqrt(variance + 1e-9)
        finished[f"{name}_bn"] = [factor, shift - factor * mean]
    x = draw_scene(9, *SIZE).frame.transpose(2, 0, 1)[None].astype(np.float32)
    expected = caffe_reference.run(INFERENCE, finished, x.astype(float))["conv1_D"]
    with runtimes.open(tmp_path / "net.onnx", "onnxruntime") as engine:
        found = engine.run(np.ascontiguousarray(x))
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.99
    assert load_model(tmp_path / "net.onnx").graph.outputs[0].name == "conv1_D"


def test_statistics_take_batches_of_four_if_no_data_layer_states_another(
    snapshot: dict[str, Any], images: Path, tmp_path: Path
) -> None:
    head = caffe_nets.head(SIZE) + INFERENCE[INFERENCE.index('layer { name: "conv1"') :]
    reports: list[str] = []
    result = export(
        head,
        snapshot,
        tmp_path,
        bn_statistics=images,
        progress=lambda text, done=None, total=None: reports.append(f"{text} {total}"),
    )
    assert "BN statistics (batches) 1" in reports  # of five images
    assert result.warnings == ()


def test_statistics_need_bn_layers_and_images(
    snapshot: dict[str, Any], images: Path, tmp_path: Path
) -> None:
    weights = caffe_nets.seeded(caffe_nets.NETS["fcn"], (1, 3, *SIZE))
    with pytest.raises(UnsupportedModelError, match="no BN layer"):
        export(caffe_nets.NETS["fcn"], weights, tmp_path, bn_statistics=images)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="contains no image"):
        export(LEARN, snapshot, tmp_path, bn_statistics=tmp_path / "empty")
