"""segnet-eval and its metrics, against scikit-learn and a brute-force matching."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from documents import validated
from onnx import numpy_helper
from PIL import Image
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score

from segnet_deploy import runtimes
from segnet_deploy.accuracy.datasets import CAMVID_COLOURS, Example, find_examples, read_labels
from segnet_deploy.accuracy.metrics import VOID, Accuracy, boundary, boundary_f1, confusion, matches
from segnet_deploy.cli import eval as eval_command
from segnet_deploy.errors import InputError

RNG = np.random.default_rng(0)


def test_figures_equal_scikit_learn() -> None:
    truth = RNG.integers(0, 6, (40, 50)).astype(np.uint8)
    truth[:5] = VOID
    labels = np.where(RNG.random((40, 50)) < 0.7, truth, RNG.integers(0, 6, (40, 50))) % 6
    labels = labels.astype(np.uint8)
    counts = confusion(truth, labels, 6)
    known = truth != VOID
    assert np.array_equal(counts, confusion_matrix(truth[known], labels[known]))
    accuracy = Accuracy(counts)
    assert accuracy.global_accuracy == pytest.approx((truth == labels)[known].mean())
    each = jaccard_score(truth[known], labels[known], average=None)
    assert accuracy.iou == pytest.approx(each)
    assert accuracy.mean_iou == pytest.approx(each.mean())
    expected = recall_score(truth[known], labels[known], average="macro")
    assert accuracy.class_average == pytest.approx(expected)


def test_void_is_left_out_of_256_classes() -> None:
    """A file of labels without names has 256 classes, and 255 is void all the same."""
    truth = np.zeros((6, 8), np.uint8)
    truth[:, 4:] = VOID
    labels = np.where(truth == VOID, 7, truth).astype(np.uint8)
    assert confusion(truth, labels, 256).sum() == 6 * 4
    assert boundary_f1(truth, truth, 256) == boundary_f1(truth, truth, 11) == 1.0
    assert boundary_f1(np.full_like(truth, 0), labels, 256) == pytest.approx(
        boundary_f1(np.full_like(truth, 0), labels, 11)
    )


def test_class_that_never_occurs_is_left_out() -> None:
    accuracy = Accuracy(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert math.isnan(accuracy.iou[2])
    assert accuracy.mean_iou == pytest.approx((3 / 4 + 4 / 5) / 2)


def brute_boundary(region: Any) -> Any:
    """Take the definition pixel by pixel."""
    height, width = region.shape
    edge = np.zeros((height, width), bool)

    def h(i: int, j: int) -> bool:
        return j + 1 < width and region[i, j] != region[i, j + 1]

    def v(i: int, j: int) -> bool:
        return i + 1 < height and region[i, j] != region[i + 1, j]

    for i in range(height):
        for j in range(width):
            if i < height - 1 and j < width - 1:
                edge[i, j] = h(i, j) or h(i + 1, j) or v(i, j) or v(i, j + 1)
            elif i == height - 1 and j < width - 1:
                edge[i, j] = h(i, j)
            elif i < height - 1:
                edge[i, j] = v(i, j)
    return edge


def brute_matches(first: Any, second: Any, radius: float) -> int:
    """Augment paths one by one, from the definition of a maximum matching."""
    a, b = np.argwhere(first), np.argwhere(second)
    near = [[j for j, q in enumerate(b) if math.dist(p, q) <= radius] for p in a]
    owner: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j in near[i]:
            if j not in seen:
                seen.add(j)
                if j not in owner or place(owner[j], seen):
                    owner[j] = i
                    return True
        return False

    return sum(place(i, set()) for i in range(len(a)))


@pytest.mark.parametrize("seed", range(8))
def test_boundaries_and_matching_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = rng.random((5, 6)) < 0.4
    region = np.kron(small, np.ones((3, 4), bool)) ^ (rng.random((15, 24)) < 0.03)
    other = np.roll(region, rng.integers(-2, 3, 2), (0, 1))
    assert np.array_equal(boundary(region), brute_boundary(region))
    a, b = boundary(region), boundary(other)
    for radius in (1.0, math.sqrt(2), 2.5):  # pixels at just this distance count
        assert matches(a, b, radius) == brute_matches(a, b, radius)


def test_boundary_f1_of_the_definition() -> None:
    truth = np.zeros((120, 160), np.uint8)
    truth[:, 80:] = 1
    assert boundary_f1(truth, truth, 3) == 1.0  # class 2 has no boundary, and does not count
    shifted = np.roll(truth, 1, 1)
    shifted[:, 0] = 0
    assert boundary_f1(truth, shifted, 3) == 1.0  # 1 px, within 0.0075 x 200 = 1.5 px
    far = np.zeros_like(truth)
    far[:, 84:] = 1
    assert boundary_f1(truth, far, 3) == 0.0
    assert math.isnan(boundary_f1(np.zeros_like(truth), np.zeros_like(truth), 3))


def test_eval_measures_and_draws(
    small_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--engine", str(small_model), "--data", str(data), "--against", str(small_model)]
    files = {name: tmp_path / f"{name}.png" for name in ("confusion", "worst")}
    arguments += [f"--{name}={path}" for name, path in files.items()]
    assert eval_command.main([*arguments, "--json", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    assert "mIoU" in out
    assert "equal labels: 100.000 %" in out
    result = validated(json.loads((tmp_path / "r.json").read_text()))
    assert len(result["frames"]) == 3
    assert np.sum(result["confusion"]) == 3 * 45 * 61
    assert result["mean_iou"] == result["against"]["mean_iou"]
    assert all(cv2.imread(str(path)) is not None for path in files.values())


def test_flips_are_counted_by_stage(
    small_model: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same file flips nothing; negated weights of the first convolution flip its windows."""
    opened: list[tuple[Any, ...]] = []
    real_open = runtimes.open

    def watch(*arguments: Any) -> Any:
        opened.append(arguments[1:3])
        return real_open(*arguments)

    monkeypatch.setattr("segnet_deploy.accuracy.index_flips.runtimes.open", watch)
    model = onnx.load(small_model)
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    weight = next(w for w in model.graph.initializer if w.name == conv.input[1])
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    other = tmp_path / "other.onnx"
    onnx.save(model, other)
    for against, same in ((small_model, True), (other, False)):
        arguments = ["--engine", str(small_model), "--data", str(data), "--against", str(against)]
        arguments += ["--flips", "--json", "-", "--no-boundary", "--runtime", "onnxruntime"]
        arguments += ["--threads", "1"]
        assert eval_command.main(arguments) == 0
        stages = validated(json.loads(capsys.readouterr().out))["flips"]
        # 4 channels, 3 frames, 45x61 in ceil mode
        assert stages[0]["windows"] == 4 * 3 * 23 * 31
        assert len(stages) == 5
        assert (stages[0]["flips"] == 0) is same
    assert stages[0]["flips"] > 1000
    assert set(opened) == {("onnxruntime", 1)}


def test_camvid_labels_are_read_as_ids_palette_and_colours(tmp_path: Path) -> None:
    ids = RNG.integers(0, 12, (6, 8)).astype(np.uint8)
    expected = np.where(ids == 11, VOID, ids)
    Image.fromarray(ids).save(tmp_path / "ids.png")
    palette = Image.fromarray(ids, "P")
    palette.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    palette.save(tmp_path / "palette.png")
    colours = np.array([CAMVID_COLOURS.get(int(i), ((0, 0, 0),))[-1] for i in ids.flat])
    Image.fromarray(colours.reshape(6, 8, 3).astype(np.uint8)).save(tmp_path / "colours.png")
    for name in ("ids", "palette", "colours"):
        example = Example(tmp_path, tmp_path / f"{name}.png", "camvid")
        assert np.array_equal(example.truth(11), expected)
    assert read_labels(tmp_path / "palette.png").shape == (6, 8)


def test_sunrgbd_counts_from_one(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 37]], np.uint8)).save(tmp_path / "l.png")
    truth = Example(tmp_path, tmp_path / "l.png", "sunrgbd").truth(37)
    assert truth.tolist() == [[VOID, 0, 36]]
    Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save(tmp_path / "l.png")
    with pytest.raises(InputError, match=r"has the id 255; expected ids below 38$"):
        Example(tmp_path, tmp_path / "l.png", "sunrgbd").truth(37)


def test_camvid_folders_are_found(tmp_path: Path) -> None:
    for name in ("val", "valannot", "train", "trainannot"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"")
    found = find_examples(tmp_path, "camvid")
    assert [e.labels.parent.name for e in found] == ["valannot"]
    assert find_examples(tmp_path, "camvid", "train")[0].image.parent.name == "train"
    with pytest.raises(InputError, match="expected test/ and testannot/"):
        find_examples(tmp_path, "camvid", "test")


def _resize(data: Path) -> None:
    cv2.imwrite(str(data / "labels/1.png"), np.zeros((9, 9), np.uint8))


BAD = {
    "no labels": (lambda d: (d / "labels/1.png").unlink(), "1 images of"),
    "size": (_resize, "expected equal sizes"),
    "unknown id": (
        lambda d: cv2.imwrite(str(d / "labels/1.png"), np.full((45, 61), 77, np.uint8)),
        "has the id 77",
    ),
    "colour": (
        lambda d: cv2.imwrite(str(d / "labels/1.png"), np.zeros((45, 61, 3), np.uint8)),
        "is a colour image",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_one_line(
    name: str,
    small_model: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage, words = BAD[name]
    damage(data)
    output = tmp_path / "r.json"
    arguments = ["--engine", str(small_model), "--data", str(data), "--json", str(output)]
    assert eval_command.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("error: ") == 1
    assert words in error
    assert not output.exists()


def test_unreadable_labels_are_counted_and_the_others_measured(
    small_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "labels/1.png").write_bytes(b"\x89PNG")
    output = tmp_path / "r.json"
    arguments = ["--engine", str(small_model), "--data", str(data), "--json", str(output)]
    assert eval_command.main(arguments) == 1
    error = capsys.readouterr().err
    assert "error: cannot read labels" in error
    assert "error: 1 of 3 frames could not be read" in error
    result = validated(json.loads(output.read_text()))
    assert [row["image"] for row in result["frames"]] == ["0.png", "2.png"]
    assert len(result["unreadable"]) == 1


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--worst", "none/w.png"], 1, "cannot write none/w.png"),
        (["--confusion", "none/c.png"], 1, "cannot write none/c.png"),
        (["--json", "."], 1, "it is a folder"),
        (["--against", "m.trt", "--flips"], 1, "m.trt is an engine"),
        (["--flips"], 2, "give --against"),
        (["--against-runtime", "openvino"], 2, "give --against"),
        (["--split", "val"], 1, "layout folders has no splits"),
    ],
)
def test_what_cannot_work_is_said_before_a_file_is_opened(
    options: list[str], status: int, words: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--engine", "missing.onnx", "--data", str(data), *options]
    assert eval_command.main(arguments) == status
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("bits", [8, 16])
def test_label_ids_of_16_bits_are_read(bits: int, tmp_path: Path) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    labels = np.arange(12, dtype=dtype).reshape(3, 4)
    cv2.imwrite(str(tmp_path / "a.png"), labels)
    assert np.array_equal(read_labels(tmp_path / "a.png"), labels)
    assert read_labels(tmp_path / "a.png").dtype == np.uint8
    if bits == 16:
        cv2.imwrite(str(tmp_path / "b.png"), labels + 300)
        with pytest.raises(InputError, match="has the id 311"):
            read_labels(tmp_path / "b.png")
