"""Videos: rotation, damage and names, for segnet-predict and segnet-camera alike."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from sleep_engine import sleeping
from videos import ROTATIONS, add_noise, cut, noisy, quarters, rotate, write

from segnet_deploy.camera import Camera
from segnet_deploy.cli import camera as camera_cli
from segnet_deploy.cli import predict
from segnet_deploy.frames import open_video
from segnet_deploy.frames.decoder import turn_upright
from segnet_deploy.types import Frame


def camera_frames(path: Path | str) -> list[Frame]:
    camera = Camera(lambda: sleeping(0), str(path), every_frame=True)
    return [result.frame for result in camera.results()]


@pytest.mark.parametrize("angle", ROTATIONS)
def test_rotated_video_is_upright_for_both_commands(angle: int, tmp_path: Path) -> None:
    path = write(tmp_path / "phone.mp4", [quarters()] * 2)
    rotate(path, ROTATIONS[angle])
    read = [*open_video(path).frames(), *camera_frames(path)]
    assert len(read) == 4
    expected = np.rot90(quarters(), -angle // 90)
    witness = cv2.VideoCapture(str(path)).read()[1]  # OpenCV turns videos too
    assert witness.shape == expected.shape
    for frame in read:
        assert frame.shape == expected.shape
        inner = np.abs(frame.astype(int) - expected)[4:20, 4:20]
        assert inner.max() < 12
        assert np.abs(frame.astype(int) - witness).mean() < 3
        assert frame.flags.c_contiguous


def test_mirrored_video_is_mirrored_back() -> None:
    picture = quarters()
    for (a, b, c, d), expected in {
        (-1, 0, 0, 1): picture[:, ::-1],
        (1, 0, 0, -1): picture[::-1],
        (0, 1, 1, 0): picture.transpose(1, 0, 2),
    }.items():
        matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1], np.int32)
        assert np.array_equal(turn_upright(picture, matrix), expected)


# Damage by container and codec; of 40 frames, the count that is reported in total.
DAMAGE = [
    ("mp4", "mpeg4", add_noise, 40),
    ("mp4", "libx264", add_noise, 40),
    ("avi", "mjpeg", add_noise, 40),
    ("avi", "mjpeg", cut, 40),
    ("mkv", "mpeg4", cut, 40),
    ("ts", "mpeg4", add_noise, None),  # a stream that does not say how many frames it has
]


@pytest.mark.parametrize(("suffix", "codec", "damage", "total"), DAMAGE)
def test_damaged_video_gives_its_intact_frames_and_the_number_lost(
    suffix: str, codec: str, damage: object, total: int | None, tmp_path: Path
) -> None:
    assert callable(damage)
    path = write(tmp_path / f"drive.{suffix}", noisy(40), codec)
    whole = open_video(path)
    assert sum(1 for _ in whole.frames()) == 40
    assert whole.lost == 0
    damage(path)
    video = open_video(path)
    count = sum(1 for _ in video.frames())
    assert 10 < count < 40
    assert video.lost > 0
    assert total is None or count + video.lost == total


@pytest.mark.parametrize(("stated", "lost"), [(41, 0), (42, 0), (43, 3), (4000, 3960)])
def test_few_frames_less_than_stated_are_no_damage(stated: int, lost: int, tmp_path: Path) -> None:
    """The header of the AVI states more frames than the file has."""
    path = write(tmp_path / "drive.avi", noisy(40), "mjpeg")
    data, at = bytearray(path.read_bytes()), path.read_bytes().find(b"strh") + 40
    assert int.from_bytes(data[at : at + 4], "little") == 40
    data[at : at + 4] = stated.to_bytes(4, "little")
    path.write_bytes(data)
    video = open_video(path)
    assert (video.count, sum(1 for _ in video.frames()), video.lost) == (stated, 40, lost)


@pytest.mark.parametrize("damage", [add_noise, cut, None])
def test_camera_and_predict_report_a_damaged_video_alike(
    damage: object, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "drive.avi", noisy(40), "mjpeg")
    if callable(damage):
        damage(path)
    status, out, labels = (0 if damage is None else 1), tmp_path / "out", tmp_path / "labels"
    words = ["--engine", str(small_model), "--runtime", "onnxruntime"]
    assert predict.main([*words, str(path), "-o", str(out)]) == status
    predicted = capsys.readouterr().err
    words += ["--source", str(path), "--every-frame", "--labels", str(labels), "--min-free", "0"]
    assert camera_cli.main(words) == status
    watched = capsys.readouterr().err
    written = [len(list(folder.iterdir())) for folder in (out / "drive_labels", labels)]
    assert written[0] == written[1]
    assert (written[0] < 40) == bool(status)
    for text in (predicted, watched):
        assert ("is damaged" in text) == bool(status)
        assert not status or f"{written[0]} of 40 frames" in text


def test_damage_of_a_looping_video_is_counted_and_the_loop_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.avi", noisy(12), "mjpeg")
    add_noise(path)
    video = open_video(path)
    first = sum(len(frames) for frames in iter(video.decode, None))
    lost = video.lost
    video.rewind()
    assert sum(1 for _ in video.frames()) == first
    assert video.lost == lost > 0


def test_frames_without_timestamps_are_timed_by_the_rate(tmp_path: Path) -> None:
    """A raw H.264 stream has none: FFmpeg assumes 25 frames per second."""
    video = open_video(write(tmp_path / "raw.h264", noisy(5), "libx264"))
    decoded = [frame for frames in iter(video.decode, None) for frame in frames]
    assert [frame.time for frame in decoded] == [None] * 5
    assert [video.seconds(frame) for frame in decoded] == [n / 25 for n in range(5)]
    video.rewind()
    assert video.seconds(next(iter(video.decode() or decoded))) == 0
    timed = open_video(write(tmp_path / "timed.mp4", noisy(5)))
    decoded = [frame for frames in iter(timed.decode, None) for frame in frames]
    assert [timed.seconds(frame) for frame in decoded] == [n / 10 for n in range(5)]


@pytest.mark.parametrize("name", ["2024-05-01T12:30:05.mp4", "rtsp:x.mkv", "drive.mts", "a.m4v"])
def test_name_of_a_video_is_not_taken_for_a_protocol(
    name: str,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    kind = name.partition(".")[2].replace("mts", "ts").replace("m4v", "mp4")
    write(Path(f"made.{kind}"), [quarters()] * 3).rename(name)
    assert len(camera_frames(name)) == 3
    assert predict.main(["--engine", str(small_model), name, "-o", "a:b"]) == 0
    made = {path.name for path in Path("a:b").iterdir()}
    stem = Path(name).stem
    assert made == {f"{stem}_labels", f"{stem}_overlay.mp4"}
    assert len(list(open_video(f"a:b/{stem}_overlay.mp4").frames())) == 3
