"""Caffe models against our own networks, and segnet-export on Caffe models as a user runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import caffe_from_torch
import caffe_nets
import caffe_schema
import cv2
import numpy as np
import pytest
import torch
from small_segnet import small
from torch import nn

from segnet_deploy import runtimes
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.scenes import draw_scene
from segnet_export import SegNetBasic, cli

SIZE = (45, 53)


def write(text: str, weights: Any, folder: Path) -> list[str]:
    """Write both files; return the arguments that name them and the output."""
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").write_bytes(caffe_schema.caffemodel(weights))
    names = [str(folder / name) for name in ("net.caffemodel", "net.prototxt", "out.onnx")]
    return [names[0], "--prototxt", names[1], "-o", names[2]]


def basic() -> SegNetBasic:
    """Return a network whose statistics fit its weights."""
    torch.manual_seed(0)
    net = SegNetBasic(5, width=4)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net(torch.from_numpy(street()))
    return net.eval()


def street() -> Any:
    frame = draw_scene(1, *SIZE).frame
    return np.ascontiguousarray(frame.transpose(2, 0, 1)[None], np.float32)


def test_segnet_equals_ours_given_the_same_weights(tmp_path: Path) -> None:
    net = small()
    text, names = caffe_nets.segnet_text(net.config.encoder, net.config.decoder, 5, SIZE)
    assert cli.main(write(text, caffe_from_torch.blobs(net, names), tmp_path)) == 0
    x = (street() - 128) / 60
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    with runtimes.open(tmp_path / "out.onnx", "onnxruntime") as engine:
        found = engine.run(x)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_segnet_basic_equals_ours_given_the_same_weights(tmp_path: Path) -> None:
    net = basic()
    text, names = caffe_nets.basic_text(4, 5, SIZE)
    assert cli.main(write(text, caffe_from_torch.blobs(net, names), tmp_path)) == 0
    with torch.no_grad():
        expected = net(torch.from_numpy(street())).numpy()
    with runtimes.open(tmp_path / "out.onnx", "onnxruntime") as engine:
        found = engine.run(street())
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    text = caffe_nets.NETS["pascal"]
    return write(text, caffe_nets.seeded(text, (1, 3, 13, 18)), tmp_path)


def test_command_prints_the_net_and_the_file(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--form", "lowered", "--imgsz", "26", "36", "--batch", "2"]) == 0
    out = capsys.readouterr().out
    assert "net.prototxt: 5 classes, 26x36, 7" in out
    assert "1 Dropout layers left out" in out
    assert "lowered form, fp32, tensor io" in out
    assert list(load_model(Path(arguments[-1])).graph.inputs[0].shape) == [2, 3, 26, 36]


def test_command_writes_int8(arguments: list[str], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "street.png"), draw_scene(0, 13, 18).frame)
    extra = ["--precision", "int8", "--calib", str(tmp_path), "--min-agreement", "0"]
    assert cli.main([*arguments, *extra]) == 0
    assert any(node.op_type == "QuantizeLinear" for node in load_model(Path(arguments[-1])).graph)


def test_command_warns_of_a_snapshot(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = caffe_nets.NETS["segnet"]
    weights = caffe_nets.seeded(text, (1, 3, 13, 18))
    for name, blobs in weights.items():
        if name.endswith("_bn"):
            weights[name] = [np.ones_like(blobs[0]), np.zeros_like(blobs[1])]
    assert cli.main(write(text, weights, tmp_path)) == 0
    error = capsys.readouterr().err
    assert "warning: the 3 BN layers have nearly equal scales" in error
    assert "note: layer 'argmax' (ArgMax) is left out" in error


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        (lambda a: [a[0], *a[3:]], 2, "requires --prototxt F"),
        (lambda a: [a[2], *a[3:]], 2, "is the net: give the .caffemodel"),
        (lambda a: ["a.pt", *a[3:], "--bn-statistics", "x"], 2, "--bn-statistics requires"),
        (lambda a: [*a, "--geometry", "floor"], 2, "--geometry does not apply to a Caffe model"),
        (lambda a: [*a, "--dynamic", "size"], 2, "--dynamic does not apply"),
        (lambda a: [a[0], a[1], a[0], *a[3:]], 2, "model and --prototxt are one file"),
        (lambda a: [*a[:4], a[2]], 2, "--prototxt and -o are one file"),
        (lambda a: [a[0], a[1], "none.prototxt", *a[3:]], 1, "cannot read the prototxt none"),
        (lambda a: [*a, "--classes", "driving"], 1, "names 12 classes but the model has 5"),
    ],
)
def test_wrong_command_is_one_line_and_writes_nothing(
    change: Any, status: int, message: str, arguments: list[str], capsys: Any
) -> None:
    assert cli.main(change(arguments)) == status
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not Path(arguments[-1]).exists()


def test_binary_given_as_text_is_refused(arguments: list[str], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "copy.prototxt").write_bytes(Path(arguments[0]).read_bytes())
    assert cli.main([*arguments[:2], str(tmp_path / "copy.prototxt"), *arguments[3:]]) == 1
    assert "copy.prototxt" in capsys.readouterr().err


def test_truncated_and_text_models_write_nothing(arguments: list[str], capsys: Any) -> None:
    model = Path(arguments[0])
    data = model.read_bytes()
    for damaged, message in {
        data[: len(data) // 2]: "truncated",
        Path(arguments[2]).read_bytes(): "is a text file",
        b"\x89HDF\r\n\x1a\n" + data: "HDF5",
        b"": "is empty",
    }.items():
        model.write_bytes(damaged)
        assert cli.main(arguments) == 1
        assert message in capsys.readouterr().err
        assert not Path(arguments[-1]).exists()
