"""segnet-predict as a user runs it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from documents import validated
from videos import write

from segnet_deploy import Result, predict_files
from segnet_deploy.cli import predict
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import load


def write_video(path: Path, count: int) -> None:
    """Write a noisy video, whose frames are large enough to be damaged one by one."""
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (160, 120))
    for _ in range(count):
        writer.write(random.integers(0, 255, (120, 160, 3), np.uint8))
    writer.release()


def test_predict_writes_labels_and_overlay(
    small_model: Path, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert predict.main(["--engine", str(small_model), str(street), "-o", str(out)]) == 0
    labels = cv2.imread(str(out / "street_labels.png"), cv2.IMREAD_UNCHANGED)
    with load(small_model) as segmenter:
        assert np.array_equal(labels, segmenter.segment(cv2.imread(str(street))))
    overlay = cv2.imread(str(out / "street_overlay.png"))
    assert overlay.shape[1] > 120  # the legend is beside the frame
    assert "1 frames segmented" in capsys.readouterr().out


def test_predict_goes_on_after_a_corrupt_image(
    small_model: Path, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copy(street, folder / "a.png")
    (folder / "b.png").write_bytes(street.read_bytes()[:9000])
    jpeg = cv2.imencode(".jpg", cv2.imread(str(street)))[1].tobytes()
    (folder / "b.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "c.jpg").write_bytes(b"no image")
    shutil.copy(street, folder / "d.png")
    assert predict.main(["--engine", str(small_model), str(folder), "-o", str(out)]) == 1
    captured = capsys.readouterr()
    assert all(name in captured.err for name in ("b.png", "b.jpg", "c.jpg"))
    assert "3 of 5 inputs could not be read" in captured.err
    kinds = ("labels", "overlay")
    assert {p.name for p in out.iterdir()} == {f"{n}_{k}.png" for n in "ad" for k in kinds}


@pytest.mark.parametrize("damage", ["middle", "none"])
def test_damaged_video_is_segmented_past_the_damage_and_reported(
    damage: str, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, out = tmp_path / "drive.mp4", tmp_path / "out"
    write_video(video, 40)
    data = bytearray(video.read_bytes())
    if damage == "middle":
        start = len(data) // 2
        data[start : start + 20_000] = np.random.default_rng(1).bytes(20_000)
        video.write_bytes(data)
    status = predict.main(["--engine", str(small_model), str(video), "-o", str(out)])
    written = len(list((out / "drive_labels").iterdir()))
    error = capsys.readouterr().err
    if damage == "none":
        assert (status, written) == (0, 40)
        assert "damaged" not in error
    else:
        assert status == 1
        assert 20 < written < 40
        assert f"drive.mp4 is damaged: {written} of 40 frames were segmented" in error


def test_video_that_ends_early_is_reported(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, video, out = tmp_path / "whole.avi", tmp_path / "cut.avi", tmp_path / "out"
    write(whole, [np.full((48, 64, 3), 6 * i, np.uint8) for i in range(40)], "mjpeg")
    data = whole.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    assert predict.main(["--engine", str(small_model), str(video), "-o", str(out)]) == 1
    written = len(list((out / "cut_labels").iterdir()))
    assert 0 < written < 40
    assert f"{written} of 40 frames were segmented" in capsys.readouterr().err


def test_output_folder_is_not_a_folder_of_inputs(
    small_model: Path, street: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = street.parent
    before = sorted(folder.iterdir())
    arguments = ["--engine", str(small_model), str(folder), "-o", f"{folder}/../{folder.name}"]
    assert predict.main(arguments) == 1
    assert "would segment its own results" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_predict_segments_a_video(small_model: Path, tmp_path: Path) -> None:
    video, out = tmp_path / "drive.avi", tmp_path / "out"
    write(video, [draw_scene(seed, 48, 64).frame for seed in range(3)], "mjpeg")
    assert predict.main(["--engine", str(small_model), str(video), "-o", str(out)]) == 0
    assert len(list((out / "drive_labels").iterdir())) == 3
    capture = cv2.VideoCapture(str(out / "drive_overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["missing.png"], 1, "missing.png"),
        (["--alpha", "2", "x.png"], 2, "--alpha 2"),
        (["--threads", "0", "x.png"], 2, "--threads 0"),
    ],
)
def test_predict_bad_input_is_one_line_and_leaves_nothing(
    small_model: Path,
    tmp_path: Path,
    arguments: list[str],
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert predict.main(["--engine", str(small_model), "-o", str(out), *arguments]) == status
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert words in error
    assert "\n" not in error
    assert not out.exists()


def test_predict_of_one_pixel(small_model: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "dot.png"), np.full((1, 1, 3), 90, np.uint8))
    out = tmp_path / "out"
    assert (
        predict.main(["--engine", str(small_model), str(tmp_path / "dot.png"), "-o", str(out)]) == 0
    )
    assert cv2.imread(str(out / "dot_labels.png"), cv2.IMREAD_UNCHANGED).shape == (1, 1)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("0", "segnet-camera --source 0"),
        ("rtsp://host/stream", "segnet-camera --source rtsp://host/stream"),
        ("https://host/a.jpg", "download it first, or for a stream: segnet-camera"),
    ],
)
def test_predict_of_a_camera_names_the_command(
    source: str, words: str, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "out")]
    assert predict.main(["--engine", str(small_model), "--source", source, *out]) == 1
    assert words in capsys.readouterr().err


def test_predict_prints_a_line_per_input(
    small_model: Path, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stdout, also with -q; without -o nothing is written."""
    video = tmp_path / "drive.avi"
    write(video, [draw_scene(seed, 48, 64).frame for seed in range(3)], "mjpeg")
    before = sorted(tmp_path.rglob("*"))
    arguments = ["--engine", str(small_model), str(street), str(video), "-q"]
    assert predict.main(arguments) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    share = r"class_\d \d+ %"
    found = rf"{share}(, {share})*(, \.\.\.)?, \d+\.\d ms"
    assert re.fullmatch(rf"image 1/2 street\.png 90x120: {found}", lines[0])
    assert re.fullmatch(rf"video 2/2 drive\.avi 3 frames 48x64: {found} a frame", lines[1])
    assert lines[2:] == ["4 frames segmented; -o DIR writes the results"]
    assert captured.err == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("option", ["--json", "--save-json"])
def test_predict_writes_coco_json_that_fits_its_schema(
    option: str,
    small_model: Path,
    street: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = ["--engine", str(small_model), str(street)]
    assert predict.main([*engine, option, str(tmp_path / "p.json")]) == 0
    assert "1 frames segmented" in capsys.readouterr().out
    assert predict.main([*engine, option, "-", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    for found in (document, json.loads((tmp_path / "p.json").read_text())):
        assert validated(found)["kind"] == "predictions"
        assert found["images"][0]["file_name"] == str(street)
        with load(small_model) as segmenter:
            labels = segmenter.segment(cv2.imread(str(street)))
        ids, areas = np.unique(labels, return_counts=True)
        rows = [(row["category_id"], row["area"]) for row in found["annotations"]]
        assert rows == list(zip(ids.tolist(), areas.tolist(), strict=True))
    document["images"][0]["width"] = "wide"
    with pytest.raises(jsonschema.ValidationError):
        validated(document)


def test_predict_uncertainty_needs_a_folder(
    small_model: Path, street: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main(["--engine", str(small_model), str(street), "--uncertainty"]) == 2
    assert "error: --uncertainty writes files; say where: -o DIR" in capsys.readouterr().err


def test_predict_show_needs_a_display(
    small_model: Path,
    street: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert predict.main(["--engine", str(small_model), str(street), "--show"]) == 1
    assert "error: cannot open a window: no display" in capsys.readouterr().err


def test_predict_stops_when_the_window_is_closed(
    small_model: Path, street: Path, tmp_path: Path
) -> None:
    """What was segmented until then is complete."""
    video, seen = tmp_path / "drive.avi", []
    write(video, [draw_scene(seed, 48, 64).frame for seed in range(5)], "mjpeg")

    def until_two(result: Result) -> bool:
        seen.append(result.index)
        return len(seen) < 2

    with load(small_model) as segmenter:
        done = predict_files(segmenter, [video, street], tmp_path / "out", on_result=until_two)
    assert (seen, done.frames, done.failed) == ([0, 1], 2, ())
    assert len(list((tmp_path / "out/drive_labels").iterdir())) == 2
    capture = cv2.VideoCapture(str(tmp_path / "out/drive_overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 2
