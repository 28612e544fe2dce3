"""Networks with one output channel: labels by threshold and a probability, in every runtime."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from small_segnet import ORT
from torch import Tensor, nn

from segnet_deploy import convert, evaluate, find_examples, load
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.prediction import predict_files
from segnet_deploy.quant.quantise import quantise
from segnet_deploy.scenes import draw_scene
from segnet_export import Trace, create, export, load_checkpoint, trace, write

SIZE = (37, 45)
NORMALISATION = {"mean": (110.0,) * 3, "std": (60.0,) * 3}


class Binary(nn.Module):
    """One channel, as logits or through a sigmoid and a crop."""

    def __init__(self, sigmoid: bool):
        super().__init__()
        self.net, self.sigmoid = create("segnet-basic", 1, width=4, seed=2), sigmoid

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return torch.sigmoid(logits)[:, :, : x.shape[2]] if self.sigmoid else logits


@pytest.fixture(scope="module", params=[False, True], ids=["logits", "sigmoid"])
def binary(request: pytest.FixtureRequest) -> Binary:
    return Binary(request.param).eval()


@pytest.fixture(scope="module")
def traced(binary: Binary) -> Trace:
    return trace(binary, torch.zeros(1, 3, *SIZE), **NORMALISATION)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return draw_scene(1, *SIZE).frame


def expected_probability(binary: Binary, frame: np.ndarray) -> np.ndarray:
    x = (torch.from_numpy(frame).permute(2, 0, 1)[None].float() - 110) / 60
    with torch.no_grad():
        return torch.sigmoid(binary.net(x))[0].numpy()


@pytest.mark.parametrize(
    ("form", "io"), [("standard", "tensor"), ("lowered", "frame"), ("plugin", "tensor")]
)
def test_labels_and_probability_are_the_modules_own(
    form: str, io: str, binary: Binary, traced: Trace, frame: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    result = write(traced, path, form=form, io=io)
    assert result.gate.passed
    assert result.metadata.threshold == 0.5
    expected = expected_probability(binary, frame)
    for runtime in {row.runtime for row in result.gate.rows}:
        with load(path, runtime=runtime) as segmenter:
            found = segmenter.run(frame)
        np.testing.assert_allclose(found["probability"], expected, atol=1e-4)
        decided = abs(expected[0] - 0.5) > 1e-4
        assert decided.mean() > 0.9
        assert (found["labels"] == (expected[0] > 0.5))[decided].all()
        assert 0 < found["labels"].mean() < 1


def test_softmax_of_logits_is_the_probability(tmp_path: Path, frame: np.ndarray) -> None:
    export(Binary(False), torch.zeros(1, 3, *SIZE), tmp_path / "m.onnx", **ORT, **NORMALISATION)
    with load(tmp_path / "m.onnx", runtime="onnxruntime") as segmenter:
        found = segmenter.run(frame)
    logits = torch.from_numpy(found["logits"])
    np.testing.assert_allclose(logits.softmax(0)[1], found["probability"][0], atol=1e-6)


def test_int8_keeps_labels_and_probability(
    traced: Trace, frame: np.ndarray, tmp_path: Path
) -> None:
    write(traced, tmp_path / "fp32.onnx", **ORT)
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        cv2.imwrite(str(folder / f"{seed}.png"), draw_scene(seed, *SIZE).frame)
    quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", folder, min_agreement=0.5)
    found = []
    for name in ("fp32", "int8"):
        with load(tmp_path / f"{name}.onnx", runtime="onnxruntime") as segmenter:
            assert segmenter.metadata.threshold == 0.5
            found.append(segmenter.run(frame))
    assert (found[0]["labels"] == found[1]["labels"]).mean() > 0.8
    assert abs(found[0]["probability"] - found[1]["probability"]).mean() < 0.2
    labels = found[1]["probability"][0] > 0.5
    assert (found[1]["labels"] == labels).all()


def test_prediction_writes_two_labels(traced: Trace, frame: np.ndarray, tmp_path: Path) -> None:
    write(traced, tmp_path / "m.onnx", **ORT)
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    with load(tmp_path / "m.onnx", runtime="onnxruntime") as segmenter:
        predict_files(segmenter, [tmp_path / "frame.png"], tmp_path / "out")
        assert len(segmenter.metadata.classes) == 2
        labels = segmenter.segment(frame)
    assert set(np.unique(labels)) == {0, 1}


def test_accuracy_of_two_labels_is_measured(
    traced: Trace, frame: np.ndarray, tmp_path: Path
) -> None:
    write(traced, tmp_path / "m.onnx", **ORT)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "0.png"), frame)
    truth = (np.arange(SIZE[1]) % 2)[None].repeat(SIZE[0], 0).astype(np.uint8)
    with load(tmp_path / "m.onnx", runtime="onnxruntime") as segmenter:
        labels = segmenter.segment(frame)
        cv2.imwrite(str(tmp_path / "labels" / "0.png"), truth)
        result = evaluate(segmenter, find_examples(tmp_path), boundary=False)
        ious = [
            ((labels == k) & (truth == k)).sum() / ((labels == k) | (truth == k)).sum()
            for k in (0, 1)
        ]
        assert result["mean_iou"] == pytest.approx(np.mean(ious))
        cv2.imwrite(str(tmp_path / "labels" / "0.png"), truth * 255)
        with pytest.raises(InputError, match=r"0 and 255 only.*write 1 instead"):
            evaluate(segmenter, find_examples(tmp_path), boundary=False)


def test_checkpoint_of_one_class_is_taken_as_logits(tmp_path: Path) -> None:
    net = create("segnet", 1, width=2, seed=1)
    torch.save(net.state_dict(), tmp_path / "m.pt")
    loaded = load_checkpoint(tmp_path / "m.pt", num_classes=1)
    notes: list[str] = []
    result = export(
        loaded.model,
        torch.zeros(1, 3, 32, 32),
        tmp_path / "m.onnx",
        progress=lambda text, *_: notes.append(text),
        **ORT,
    )
    assert result.metadata.threshold == 0.5
    assert any("one output channel with logits: class 1 where it is over 0" in n for n in notes)


def test_one_channel_between_0_and_1_without_sigmoid_is_refused(tmp_path: Path) -> None:
    class Clamped(Binary):
        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).clamp(0, 1)  # type: ignore[no-any-return]

    with pytest.raises(UnsupportedModelError, match="not the result of a sigmoid"):
        export(Clamped(False), torch.zeros(1, 3, *SIZE), tmp_path / "m.onnx")


def one_channel_file(path: Path, last: str) -> None:
    """Write a file of another tool: one pair, and one channel after the operator `last`."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in (("w1", (4, 3, 3, 3)), ("w2", (1, 4, 3, 3)))
    ]
    pair = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p", "i"], **pair),
        helper.make_node("MaxUnpool", ["p", "i"], ["u"], **pair),
        helper.make_node("Conv", ["u", "w2"], ["z"], pads=[1] * 4),
        helper.make_node(last, ["z"], ["y"]),
    ]
    x, y = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 32, 48])
        for name, channels in (("x", 3), ("y", 1))
    )
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


@pytest.mark.parametrize("last", ["Identity", "Sigmoid"])
def test_file_of_another_tool_gets_two_classes(
    last: str, tmp_path: Path, frame: np.ndarray
) -> None:
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    one_channel_file(one, last)
    with pytest.raises(UnsupportedModelError, match=r"one output channel.*segnet-export"):
        load(one, runtime="onnxruntime")
    convert(one, two, "lowered")
    frame = cv2.resize(frame, (48, 32))
    x = np.ascontiguousarray(frame.transpose(2, 0, 1)[None], np.float32)
    z = onnxruntime.InferenceSession(one).run(["y"], {"x": x})[0][0, 0]
    with load(two, runtime="onnxruntime") as segmenter:
        assert segmenter.metadata.threshold == 0.5
        found = segmenter.run(frame)
    with np.errstate(over="ignore"):
        probability = z if last == "Sigmoid" else 1 / (1 + np.exp(-z.astype(np.float64)))
    np.testing.assert_allclose(found["probability"][0], probability, atol=1e-5)
    assert (found["labels"] == (probability > 0.5)).mean() > 0.999
    assert 0 < found["labels"].mean() < 1


def test_file_with_a_limited_channel_is_refused(tmp_path: Path) -> None:
    one_channel_file(tmp_path / "one.onnx", "Clip")
    with pytest.raises(UnsupportedModelError, match="result of Clip, not of a sigmoid"):
        convert(tmp_path / "one.onnx", tmp_path / "two.onnx", "lowered")
