"""segnet-export --precision int8 as a user runs it, from a checkpoint and from an ONNX file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import families
import numpy as np
import onnx
import pytest
import torch

from segnet_deploy.accuracy.evaluate import class_losses
from segnet_deploy.cli import build
from segnet_deploy.scenes import draw_scene
from segnet_export import cli

INT8 = ["--precision", "int8"]


def export(source: Path, target: Path, data: Path, *more: str) -> int:
    arguments = [str(source), "-o", str(target), *INT8, "--calib", str(data / "images")]
    return cli.main([*arguments, "--min-agreement", "0.5", *more])


def test_onnx_file_is_quantised_without_torch(
    small_model: Path, tmp_path: Path, data: Path
) -> None:
    target = tmp_path / "int8.onnx"
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from segnet_export import cli\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    arguments = [str(small_model), "-o", str(target), *INT8, "--calib", str(data / "images")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--min-agreement", "0.5"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert "onnxruntime  int8" in done.stdout
    assert "26 convolutions, 3 calibration frames (percentile)" in done.stdout
    model = onnx.load(target)
    assert "MaxUnpool" in {node.op_type for node in model.graph.node}
    props = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert props["segnet.precision"] == "int8"
    assert props["segnet.fp32_layers"] == []


def test_budget_keeps_layers_and_names_them(
    small_model: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from segnet_deploy.quant import sensitivity

    # An untrained net has nothing to lose: layers that cost exactly what their number says.
    real = sensitivity.DropMeter.measure

    def measured(meter, keep=()):  # type: ignore[no-untyped-def]
        if len(keep) < 3 and not meter.for_tensorrt:
            return [sensitivity.AccuracyDrop("onnxruntime", 0.03 - 0.01 * len(keep), {})]
        return real(meter, keep)

    monkeypatch.setattr(sensitivity.DropMeter, "measure", measured)
    monkeypatch.setattr(sensitivity, "rank_layers", lambda q: [(n, 0.0) for n in q.sites()])
    options = ["--max-drop", "0.5", "--data", str(data)]
    assert export(small_model, tmp_path / "int8.onnx", data, *options) == 0
    captured = capsys.readouterr()
    assert captured.out.count("kept in fp32: ") == 3
    assert "23 convolutions" in captured.out
    assert "mIoU" in captured.out


def test_layers_are_ranked_by_what_they_change(small_model: Path, data: Path) -> None:
    from segnet_deploy.quant.quantiser import Quantiser, read_calibration
    from segnet_deploy.quant.sensitivity import rank_layers
    from segnet_deploy.quant.sites import find_sites

    quantiser = Quantiser(small_model, read_calibration(data / "images", 1))
    spoilt = find_sites(quantiser.fp32().graph)[2]  # its input keeps a 50th of its range
    ranges = dict(quantiser.statistics.ranges)
    low, high = ranges[spoilt.source.name]
    ranges[spoilt.source.name] = (low / 50, high / 50)
    quantiser.statistics = replace(quantiser.statistics, ranges=ranges)
    ranked = rank_layers(quantiser)
    assert len(ranked) == 26
    shares = [share for _, share in ranked]
    assert shares == sorted(shares, reverse=True)
    assert ranked[0] == (spoilt.name, pytest.approx(shares[0]))
    assert shares[0] > 2 * shares[1]


def test_tensorrt_form_is_derived_from_either_file(
    small_model: Path, tmp_path: Path, data: Path
) -> None:
    first, second = tmp_path / "u8.onnx", tmp_path / "s8.onnx"
    assert export(small_model, first, data, "--form", "standard") == 0
    assert cli.main([str(first), "-o", str(second), "--for", "tensorrt", "--form", "lowered",
                     "--min-agreement", "0.5"]) == 0  # fmt: skip
    zeros = [
        onnx.numpy_helper.to_array(i)
        for i in onnx.load(second).graph.initializer
        if i.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) and not i.dims
    ]
    assert zeros
    assert all(z.dtype == np.int8 and z == 0 for z in zeros)


@pytest.mark.needs("tensorrt-rtx")
def test_engine_of_an_int8_file_has_int8_convolutions(
    small_model: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(small_model, tmp_path / "int8.onnx", data) == 0
    plan = tmp_path / "m.trt"
    arguments = [str(tmp_path / "int8.onnx"), "-o", str(plan), "--target", "sm86,sm89"]
    assert build.main([*arguments, "--form", "lowered"]) == 0
    assert "lowered form, int8" in capsys.readouterr().out
    layers = json.loads((tmp_path / "m.trt.json").read_text())["layers"]
    convolutions = [layer for layer in layers if layer["type"] == "correlation"]
    assert len(convolutions) == 26
    assert all(layer["inputs"][0] == "int8" for layer in convolutions)


def test_checkpoint_is_exported_and_quantised_in_one_go(tmp_path: Path, data: Path) -> None:
    source, target = tmp_path / "model.pt", tmp_path / "m.onnx"
    torch.save(families.build(families.CaffeNames).state_dict(), source)
    options = ["--imgsz", "45", "53", "--form", "lowered", "--io", "frame"]
    assert export(source, target, data, *options) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"data", "model.pt", "m.onnx"}


def test_weights_that_are_nan_are_refused(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = families.build(families.CaffeNames).state_dict()
    next(iter(state.values())).view(-1)[0] = float("nan")
    torch.save(state, tmp_path / "model.pt")
    assert export(tmp_path / "model.pt", tmp_path / "m.onnx", data, "--imgsz", "45", "53") == 1
    assert "NaN" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


def test_class_that_loses_much_is_named() -> None:
    def rows(pole: float) -> dict[str, dict[str, float]]:
        return {"Sky": {"iou": 0.9}, "Pole": {"iou": pole}, "Car": {"iou": float("nan")}}

    result = {"classes": rows(0.30), "against": {"classes": rows(0.33)}}
    assert class_losses(result) == ["Pole loses 3.00 points of IoU"]
    assert class_losses(result | {"against": {"classes": rows(0.31)}}) == []
    assert class_losses({"classes": rows(0.3)}) == []


def _bad(tmp_path: Path, data: Path) -> dict[str, tuple[list[str], int, str]]:
    calib = ["--calib", str(data / "images")]
    labels = tmp_path / "wrong"
    for name in ("images", "labels"):
        (labels / name).mkdir(parents=True)
    cv2.imwrite(str(labels / "images/a.png"), draw_scene(0, 45, 61).frame)
    size, ids = tmp_path / "size", tmp_path / "ids"
    for folder, array in (
        (size, np.zeros((9, 9), np.uint8)),
        (ids, np.full((45, 61), 77, np.uint8)),
    ):
        (folder / "images").mkdir(parents=True)
        (folder / "labels").mkdir()
        cv2.imwrite(str(folder / "images/a.png"), draw_scene(0, 45, 61).frame)
        cv2.imwrite(str(folder / "labels/a.png"), array)
    (tmp_path / "empty").mkdir()
    return {
        "no-calib": ([], 2, "needs --calib DIR"),
        "empty": (["--calib", str(tmp_path / "empty")], 1, "contains no image"),
        "missing": (["--calib", str(tmp_path / "nowhere")], 1, "nowhere"),
        "no-labels": ([*calib, "--data", str(labels)], 1, "have no labels"),
        "size": ([*calib, "--data", str(size)], 1, "expected equal sizes"),
        "ids": ([*calib, "--data", str(ids)], 1, "has the id 77"),
        "classes": ([*calib, "--data", str(ids), "--layout", "camvid"], 1, "5 classes"),
        "budget": ([*calib, "--max-drop", "1"], 2, "--max-drop needs --data"),
        "agreement": ([*calib, "--min-agreement", "1"], 1, "of the labels"),
    }


NAMES = ["no-calib", "empty", "missing", "no-labels", "size", "ids", "classes", "budget"]


@pytest.mark.parametrize("name", [*NAMES, "agreement"])
def test_bad_input_is_one_line_and_leaves_nothing(
    name: str, small_model: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, status, words = _bad(tmp_path, data)[name]
    folder = tmp_path / "out"
    folder.mkdir()
    got = cli.main([str(small_model), "-o", str(folder / "m.onnx"), *INT8, *options])
    error = capsys.readouterr().err
    assert got == status
    assert words in error
    assert "Traceback" not in error
    assert list(folder.iterdir()) == []
