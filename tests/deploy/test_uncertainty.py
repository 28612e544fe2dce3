"""Uncertainty of files that sample their dropout: API, commands, figures, pictures, camera."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from documents import validated

from segnet_deploy import BuildOptions, build, load, quantise, run_model
from segnet_deploy.accuracy.agreement import share_kept
from segnet_deploy.accuracy.calibration import Calibration
from segnet_deploy.bench.run_table import format_run
from segnet_deploy.camera import Camera
from segnet_deploy.camera.web.picture_message import encode_picture
from segnet_deploy.cli import eval as eval_command
from segnet_deploy.cli import predict
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.overlay import heat_levels, heat_map
from segnet_deploy.passes.sampling_names import MAPS
from segnet_deploy.scenes import draw_scene

ORT = ["--runtime", "onnxruntime"]


def test_segmenter_returns_maps_at_the_size_of_the_frame(sampled_model: Path) -> None:
    frame = draw_scene(0, 90, 130).frame
    with load(sampled_model, "onnxruntime") as segmenter:
        assert segmenter.has_uncertainty
        labels, uncertainty = segmenter.segment_with_uncertainty(frame)
        assert segmenter.engine.masks is not None
        assert segmenter.engine.masks.frame == 1
        segmenter.engine.masks.frame = 0
        again, maps = segmenter.segment_with_maps(frame)
        _, entropy = segmenter.segment_with_uncertainty(frame, "entropy")
        with pytest.raises(InputError, match="measure 'doubt'; expected uncertainty"):
            segmenter.segment_with_uncertainty(frame, "doubt")
    np.testing.assert_array_equal(labels, again)
    np.testing.assert_array_equal(uncertainty, maps["uncertainty"])
    assert (entropy != maps["entropy"]).any()  # the next frame has other masks
    assert list(maps) == list(MAPS)
    assert {value.shape for value in maps.values()} == {(90, 130)}
    assert {value.dtype.name for value in maps.values()} == {"float32"}


def test_plain_file_has_no_uncertainty(small_model: Path) -> None:
    with load(small_model, "onnxruntime") as segmenter:
        assert not segmenter.has_uncertainty
        with pytest.raises(UnsupportedModelError, match="export the network again with --mc-drop"):
            segmenter.segment_with_uncertainty(np.zeros((45, 61, 3), np.uint8))


def test_runtimes_use_the_same_masks(sampled_model: Path) -> None:
    pytest.importorskip("openvino")
    frame = draw_scene(3, 45, 61).frame
    found = []
    for runtime in ("onnxruntime", "openvino"):
        with load(sampled_model, runtime) as segmenter:
            segmenter.segment(frame)
            found.append(segmenter.segment_with_uncertainty(frame)[1])
    np.testing.assert_allclose(*found, atol=1e-5)


def test_predict_writes_heat_map_and_array(
    sampled_model: Path, street: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    flags = ["--engine", str(sampled_model), "-o", str(out), "--uncertainty", *ORT]
    assert predict.main([str(street), *flags]) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        f"street_{kind}"
        for kind in ("labels.png", "overlay.png", "uncertainty.npy", "uncertainty.png")
    ]
    uncertainty = np.load(out / "street_uncertainty.npy")
    assert uncertainty.dtype == np.float32
    picture = cv2.imread(str(out / "street_uncertainty.png"))
    np.testing.assert_array_equal(picture, heat_map(uncertainty, 5))
    assert predict.main([str(street), *flags]) == 0
    np.testing.assert_array_equal(np.load(out / "street_uncertainty.npy"), uncertainty)
    assert predict.main([str(street), *flags, "--seed", "7"]) == 0
    assert (np.load(out / "street_uncertainty.npy") != uncertainty).any()


def test_predict_refuses_uncertainty_of_a_plain_file(
    small_model: Path, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    flags = ["--engine", str(small_model), "-o", str(out), "--uncertainty", *ORT]
    assert predict.main([str(street), *flags]) == 1
    assert "--mc-dropout" in capsys.readouterr().err
    assert not out.exists()


def test_eval_reports_certain_pixels_and_calibration(
    sampled_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "result.json"
    flags = ["--data", str(data), "--no-boundary", "--json", str(result), *ORT]
    assert eval_command.main(["--engine", str(sampled_model), *flags]) == 0
    found = validated(json.loads(result.read_text()))
    shares = found["accuracy_of_most_certain"]
    assert list(shares) == ["0.5", "0.9", "1.0"]
    assert shares["1.0"] == pytest.approx(found["global_accuracy"])
    assert 0 <= found["ece"] <= 1
    text = capsys.readouterr().out
    assert "right among the most certain pixels" in text
    assert "calibration error (ECE)" in text


def test_calibration_equals_sorting_and_binning() -> None:
    rng = np.random.default_rng(0)
    calibration = Calibration(3)
    everything = []
    for _ in range(3):
        truth = rng.integers(0, 4, (20, 30)).astype(np.uint8)
        truth[truth == 3] = 255
        labels = rng.integers(0, 3, (20, 30)).astype(np.uint8)
        confidence = rng.uniform(1 / 3, 1, (20, 30)).astype(np.float32)
        uncertainty = rng.permutation(600).reshape(20, 30).astype(np.float16) / 2048
        calibration.add(truth, labels, uncertainty, confidence)
        known = truth < 3
        everything.append(np.stack([uncertainty, truth == labels, confidence])[:, known])
    uncertainty, right, confidence = np.concatenate(everything, axis=1).astype(np.float64)
    figures = calibration.figures()
    order = np.argsort(uncertainty, kind="stable")
    for share, value in figures["accuracy_of_most_certain"].items():
        count = round(float(share) * len(order))
        assert value == pytest.approx(right[order[:count]].mean(), abs=3 / count)
    bins = np.minimum((confidence * 15).astype(int), 14)
    parts = [abs((right - confidence)[bins == b].sum()) for b in range(15)]
    assert figures["ece"] == pytest.approx(sum(parts) / len(right))


def test_heat_map_has_a_fixed_scale() -> None:
    levels = heat_levels(np.array([[0.0, 0.04, 0.16, 0.5]]), 5)
    assert levels.tolist() == [[0, 128, 255, 255]]
    assert heat_map(np.array([[0.0, 0.16]]), 5).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_bench_prints_time_per_sample(sampled_model: Path) -> None:
    result = run_model(sampled_model, "onnxruntime", runs=3)
    assert result.dropout_samples == 3
    assert "3 samples of the dropout" in format_run(result)
    assert "ms per sample" in format_run(result)


def test_camera_results_have_uncertainty(sampled_model: Path, street: Path) -> None:
    with Camera(str(sampled_model), str(street.parent), every_frame=True) as camera:
        first = next(iter(camera.results()))
    assert first.uncertainty is not None
    assert first.uncertainty.shape == first.labels.shape


def test_picture_message_carries_the_levels() -> None:
    frame = draw_scene(0, 48, 64).frame
    levels = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    message = encode_picture(frame, np.zeros((48, 64), np.uint8), {}, levels)
    stream = io.BytesIO(message)
    header = json.loads(stream.read(int.from_bytes(stream.read(4), "little")))
    stream.seek(3 * header["runs"], io.SEEK_CUR)
    data = np.frombuffer(stream.read(header["uncertainty"]), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert decoded.shape == (48, 64)
    assert np.abs(decoded.astype(int) - levels).mean() < 4
    assert cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_COLOR).shape[0] == 48


@pytest.mark.parametrize("form", ["standard", "lowered", "plugin"])
def test_int8_file_keeps_labels_and_uncertainty(
    form: str, sampled_model: Path, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    result = quantise(sampled_model, path, data / "images", form=form, min_agreement=0.9)
    assert result.int8 == 3
    assert {row.runtime for row in result.agreement} >= {"onnxruntime"}
    frame = draw_scene(9, 45, 61).frame
    with load(sampled_model, "onnxruntime") as one, load(path, "onnxruntime") as other:
        expected, found = (each.segment_with_uncertainty(frame)[1] for each in (one, other))
        assert other.metadata.samples == 3
    assert share_kept(found, expected) > 0.95


@pytest.mark.needs("tensorrt-rtx")
def test_tensorrt_rtx_builds_a_file_with_masks(sampled_model: Path, tmp_path: Path) -> None:
    options = BuildOptions(targets=("sm86",), form="lowered")
    assert build(sampled_model, tmp_path / "sampled.trt", options).form == "lowered"
    sidecar = json.loads((tmp_path / "sampled.trt.json").read_text())
    assert "dropout" in json.dumps(sidecar)
