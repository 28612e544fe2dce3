"""The CamVid recipe on drawn scenes: a killed run continues to the same weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from segnet_deploy.accuracy.datasets import find_examples
from segnet_deploy.accuracy.metrics import VOID
from segnet_deploy.errors import InputError
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import load
from segnet_export import cli

FOLDER = Path(__file__).parents[2] / "benchmarks" / "camvid"
sys.path.insert(0, str(FOLDER))

import batches  # noqa: E402 - after the path
import encoder  # noqa: E402
import table  # noqa: E402
import train  # noqa: E402

SIZE = (32, 48)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in CamVid's layout: drawn scenes, the first column void."""
    folder = tmp_path_factory.mktemp("camvid")
    for split, seeds in (("train", range(7)), ("val", range(90, 92))):
        for part in (split, f"{split}annot"):
            (folder / part).mkdir()
        for seed in seeds:
            scene = draw_scene(seed, *SIZE)
            labels = scene.labels.copy()
            labels[:, 0] = 11
            cv2.imwrite(str(folder / split / f"{seed}.png"), scene.frame)
            cv2.imwrite(str(folder / f"{split}annot" / f"{seed}.png"), labels)
    return folder


def options(data: Path, out: Path, steps: int, arch: str = "segnet") -> list[str]:
    """Return the arguments of a small run that is saved after each step."""
    small = ["--imgsz", "32", "48", "--width", "4", "--batch", "3", "--device", "cpu"]
    more = ["--threads", "1", "--save-every", "0", "--steps", str(steps)]
    return [str(data), "-o", str(out), "--arch", arch, *small, *more]


def weights(out: Path) -> dict[str, Any]:
    """Return the saved weights and momentum of a run."""
    saved = torch.load(out / "last.pt", weights_only=True)
    momenta = saved["optimiser"]["state"]
    return saved["state_dict"] | {str(k): v["momentum_buffer"] for k, v in momenta.items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_killed_run_continues_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    command = [sys.executable, str(FOLDER / "train.py"), *options(data, resumed, 10_000)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (resumed / "last.pt").exists() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = torch.load(resumed / "last.pt", weights_only=True)["step"]
    last = done + 2
    assert train.main(options(data, resumed, last)) == 0
    assert train.main(options(data, whole, last)) == 0
    assert torch.load(resumed / "last.pt", weights_only=True)["step"] == last
    assert same(weights(resumed), weights(whole))


def test_two_runs_of_two_steps_equal_one_of_four_with_dropout(data: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for out, steps in ((resumed, 2), (resumed, 4), (whole, 4)):
        assert train.main(options(data, out, steps, arch="fcn-8s")) == 0
    assert same(weights(resumed), weights(whole))
    history = json.loads((resumed / "history.json").read_text())["history"]
    assert history[-1]["step"] == 4


def test_a_trained_model_is_exported_by_the_command_that_is_printed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(options(data, tmp_path, 1)) == 0
    command = capsys.readouterr().out.strip().splitlines()[-1].split()
    assert command[0] == "segnet-export"
    assert cli.main(command[1:]) == 0
    with load(tmp_path / "best.onnx") as segmenter:
        assert segmenter.size == SIZE
        assert segmenter.metadata.classes[3] == "Road"
        assert segmenter.metadata.mean == batches.MEAN


def test_a_run_with_other_settings_is_not_continued(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(options(data, tmp_path, 1)) == 0
    before = (tmp_path / "last.pt").read_bytes()
    assert train.main([*options(data, tmp_path, 2), "--lr", "0.01"]) == 2
    assert "--lr 0.1" in capsys.readouterr().err
    assert train.main([*options(data, tmp_path, 2), "--encoder", "vgg16.pth"]) == 2
    assert "--encoder None" in capsys.readouterr().err
    assert (tmp_path / "last.pt").read_bytes() == before


def test_a_loss_that_explodes_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*options(data, tmp_path, 30), "--lr", "1e30"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the loss is" in error
    assert "smaller --lr" in error


def test_table_has_our_rows_and_the_papers(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(options(data, tmp_path / "run", 2)) == 0
    assert table.main([str(data), str(tmp_path / "run"), "--split", "val"]) == 0
    out = capsys.readouterr().out
    row = json.loads((tmp_path / "run" / "accuracy.json").read_text())
    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)
    assert row["mean_iou"] == pytest.approx(100 * best["mean_iou"])  # same size, same images
    assert f"{row['mean_iou']:.2f}" in out
    assert row["images"] == 2
    assert 0 <= row["boundary_f1"] <= 100
    for text in ("SegNet, ", "60.10", "46.84", "52.23", "47.7"):
        assert text in out


def test_every_image_once_per_epoch_and_half_of_them_flipped(data: Path) -> None:
    examples = find_examples(data, "camvid", "train")
    drawn = batches.Batches(examples, SIZE, 3, seed=1, flips=True)
    assert drawn.per_epoch == 2
    epochs = [[drawn.picks(step) for step in (2 * e, 2 * e + 1)] for e in range(20)]
    for first, second in epochs:
        places = [place for place, _ in first + second]
        assert len(set(places)) == len(places) == 6
    assert len({str(epoch) for epoch in epochs}) == 20
    flips = sum(flip for epoch in epochs for step in epoch for _, flip in step)
    assert 40 <= flips <= 80  # of 120
    place, flip = next(p for step in range(9) for p in drawn.picks(step) if p[1])
    step = next(s for s in range(9) if (place, flip) in drawn.picks(s))
    frames, labels = drawn.load(step)
    row = drawn.picks(step).index((place, flip))
    frame, truth = batches.read(examples[place], SIZE)
    assert np.array_equal(frames[row].numpy(), frame[:, ::-1].transpose(2, 0, 1))
    assert np.array_equal(labels[row].numpy(), truth[:, ::-1])


def test_class_weights_are_median_over_frequency(data: Path, tmp_path: Path) -> None:
    for name in ("train", "trainannot"):
        (tmp_path / name).mkdir()
    # Class 0: 6 of 8 and 2 of 8 px; class 1: 6 of 8, in one image; void: 2 of 8, in one.
    maps = ([[0] * 4, [0, 0, 11, 11]], [[1] * 4, [1, 1, 0, 0]])
    for place, labels in enumerate(maps):
        cv2.imwrite(str(tmp_path / "train" / f"{place}.png"), np.zeros((2, 4, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "trainannot" / f"{place}.png"), np.array(labels, np.uint8))
    examples = find_examples(tmp_path, "camvid", "train")
    found = batches.class_weights(examples, (2, 4))
    # Frequencies 8/16, 6/8 and void's 2/8: the median is 1/2.
    assert found[:2].tolist() == pytest.approx([1.0, 2 / 3])
    assert not found[2:].any()
    assert (examples[0].truth(11) == VOID).sum() == 2


def test_encoder_starts_from_vgg16(tmp_path: Path) -> None:
    from segnet_export.models import create

    source, target = create("fcn-32s", 3, width=4, seed=1), create("segnet", 5, width=4, seed=2)
    state = source.state_dict()  # 13 convolutions, and more after them
    assert encoder.load_encoder(target, state) == 13
    ours = [m for m in target.modules() if isinstance(m, torch.nn.Conv2d)]
    theirs = [v for v in state.values() if v.ndim == 4]
    assert all(torch.equal(a.weight, b) for a, b in zip(ours[1:13], theirs[1:13], strict=True))
    rgb = torch.rand(1, 3, 8, 8)  # the same picture yields the same output
    filters = torch.nn.functional.conv2d
    assert torch.allclose(filters(rgb.flip(1), ours[0].weight), filters(rgb, theirs[0]), atol=1e-6)
    encoder.load_encoder(target, state, "bgr")
    assert torch.equal(ours[0].weight, theirs[0])
    with pytest.raises(InputError, match="expected 13"):
        encoder.load_encoder(target, {})
    with pytest.raises(InputError, match="is it VGG16"):
        encoder.load_encoder(create("segnet", 5, width=2), state)


def test_loss_is_the_mean_over_labelled_pixels() -> None:
    logits = torch.randn(1, 3, 1, 4)
    labels = torch.tensor([[[0, 2, VOID, 1]]])
    weights = torch.tensor([0.5, 2.0, 1.0])
    chances = logits.softmax(1)[0, :, 0]
    wanted = -sum(weights[k] * chances[k, i].log() for i, k in ((0, 0), (1, 2), (3, 1))) / 3
    assert torch.allclose(train.balanced_loss(logits, labels, weights), wanted)
