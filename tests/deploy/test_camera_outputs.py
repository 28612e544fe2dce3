"""Outputs of the camera loop: recordings, label files, watchdog, logs, outputs that fail."""

from __future__ import annotations

import json
import logging
import socket
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from documents import validated
from sleep_engine import sleeping

from segnet_deploy import InputError
from segnet_deploy.camera import Camera, Result, Status, add_outputs
from segnet_deploy.camera.logs import JsonLines
from segnet_deploy.camera.outputs.background import Background
from segnet_deploy.camera.outputs.label_images import LabelImages
from segnet_deploy.camera.outputs.label_lines import LabelLines
from segnet_deploy.camera.outputs.recording import Recording
from segnet_deploy.camera.outputs.status_log import StatusLog
from segnet_deploy.camera.outputs.systemd_watchdog import SystemdWatchdog
from segnet_deploy.camera.outputs.window import Window
from segnet_deploy.results.run_lengths import labels_from_runs, labels_to_runs

PALETTE = ((0, 0, 0), (200, 0, 0), (0, 200, 0))
STATUS = Status(state="live", source="script", uptime=1.0, frames_per_second=30.0, age=0.02)


def result(number: int, height: int = 48, width: int = 64, fps: float = 10) -> Result:
    frame = np.full((height, width, 3), 40 + 10 * number % 200, np.uint8)
    labels = np.zeros((height, width), np.uint8)
    labels[number % height :] = 1 + number % 2
    return Result(frame, labels, number, number / fps, 0.01, STATUS)


def decode(path: Path) -> list[tuple[float, tuple[int, int]]]:
    with av.open(str(path)) as file:
        return [(frame.time, (frame.height, frame.width)) for frame in file.decode(video=0)]


def test_recording_keeps_times_and_splits_into_segments(tmp_path: Path) -> None:
    (tmp_path / "drive-00006.mp4").write_bytes(b"an older one")
    recording = Recording(tmp_path / "drive.mp4", PALETTE, segment=2.0, min_free_bytes=0)
    for number in range(35):
        recording.show(result(number))
    recording.close()
    assert (tmp_path / "drive-00006.mp4").read_bytes() == b"an older one"
    files = sorted(tmp_path.glob("drive-*.mp4"))[1:]
    assert [file.name for file in files] == [f"drive-{n:05d}.mp4" for n in (7, 8)]
    first, second = map(decode, files)
    assert (len(first), len(second)) == (20, 15)
    assert [round(time, 3) for time, _ in first] == [round(n / 10, 3) for n in range(20)]


def test_recording_starts_a_segment_when_the_frame_size_changes(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.mp4", PALETTE, min_free_bytes=0)
    for number, size in enumerate([(48, 64), (48, 64), (33, 51), (33, 51)]):
        recording.show(result(number, *size))
    recording.close()
    sizes = [[size for _, size in decode(file)] for file in sorted(tmp_path.iterdir())]
    assert sizes == [[(48, 64)] * 2, [(32, 50)] * 2]


def test_recording_is_playable_up_to_its_last_fragment(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.mp4", PALETTE, min_free_bytes=0)
    for number in range(35):
        recording.show(result(number))
    copy = tmp_path / "copy.mp4"  # as after a kill
    copy.write_bytes((tmp_path / "a-00001.mp4").read_bytes())
    assert len(decode(copy)) >= 20
    recording.close()


def test_recording_gets_its_name_with_its_first_fragment(tmp_path: Path) -> None:
    """Until then a kill would leave a file without a picture."""
    recording, path = (
        Recording(tmp_path / "a.mp4", PALETTE, min_free_bytes=0),
        tmp_path / "a-00001.mp4",
    )
    for number in range(3):
        recording.show(result(number))
    assert not path.exists()
    recording = Recording(tmp_path / "a.mp4", PALETTE, min_free_bytes=0)  # as after a kill
    for number in range(11):
        recording.show(result(number))
    assert len(decode(path)) == 10
    recording.close()
    assert len(decode(path)) == 11
    short = Recording(tmp_path / "b.mp4", PALETTE, min_free_bytes=0)
    short.show(result(0))
    short.close()
    assert len(decode(tmp_path / "b-00001.mp4")) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-00001.mp4", "b-00001.mp4"]


@pytest.mark.parametrize("rest", ["", '{"sequence": 7', "{" + "9," * 50_000])
def test_label_lines_continue_after_a_line_that_a_kill_cut(rest: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    for before in ("", '{"sequence": 1}\n{"sequence": 2}\n'):
        path.write_text(before + rest)
        lines = LabelLines(path, 0)
        lines.show(result(3))
        text = path.read_text()  # each line is written at once, not when the file is closed
        lines.close()
        assert text.startswith(before)
        numbers = [json.loads(line)["sequence"] for line in text.splitlines()]
        assert numbers == ([1, 2, 3] if before else [3])


def test_full_disk_pauses_recording_and_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("segnet_deploy.camera").propagate = True
    outputs = [
        Recording(tmp_path / "a.mp4", PALETTE, min_free_bytes=1 << 60),
        LabelImages(tmp_path / "labels", min_free_bytes=1 << 60),
        LabelLines(tmp_path / "labels.jsonl", min_free_bytes=1 << 60),
    ]
    for output in outputs:
        output.show(result(0))
        output.close()
    assert not list(tmp_path.glob("*.mp4")) + list((tmp_path / "labels").iterdir())
    assert (tmp_path / "labels.jsonl").read_text() == ""
    assert "pauses" in caplog.text


@pytest.mark.parametrize("name", ["no/such/folder.mp4", "a.avi"])
def test_recording_to_an_unusable_path_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot record"):
        Recording(tmp_path / name, PALETTE)


def test_label_files_contain_the_labels(tmp_path: Path) -> None:
    images, lines = LabelImages(tmp_path / "png", 0), LabelLines(tmp_path / "all.jsonl", 0)
    for number in (0, 5):
        images.show(result(number))
        lines.show(result(number))
    lines.close()
    for number, line in zip((0, 5), (tmp_path / "all.jsonl").read_text().splitlines(), strict=True):
        want = result(number).labels
        stored = validated(json.loads(line))
        assert stored["sequence"] == number
        assert np.array_equal(labels_from_runs(stored["runs"], tuple(stored["size"])), want)
        png = cv2.imread(str(tmp_path / "png" / f"{number:09d}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(png, want)


def test_run_lengths_decode_to_the_same_labels() -> None:
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (1, 9), (7, 5), (32, 48)]:
        for labels in (rng.integers(0, 256, shape), rng.integers(0, 2, shape), np.ones(shape)):
            labels = labels.astype(np.uint8)
            runs = labels_to_runs(labels)
            assert all(a != b for a, b in zip(runs[::2], runs[2::2], strict=False))
            assert np.array_equal(labels_from_runs(runs, shape), labels)
    with pytest.raises(InputError, match="expected 2 x 3"):
        labels_from_runs([1, 5], (2, 3))


class Slow:
    def __init__(self) -> None:
        self.release, self.numbers, self.closed = threading.Event(), list[int](), False

    def show(self, result: Result) -> None:
        assert self.release.wait(5)
        self.numbers.append(result.sequence)

    def report(self, status: Status) -> None: ...

    def close(self) -> None:
        self.closed = True


def test_slow_output_does_not_delay_the_loop() -> None:
    slow = Slow()
    background = Background(slow)
    for number in range(50):
        background.show(result(number))  # returns although the output is blocked
    slow.release.set()
    background.close()
    assert slow.numbers[-1] == 49
    assert len(slow.numbers) <= 3
    assert slow.closed


def test_failing_output_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("segnet_deploy.camera").propagate = True

    class Failing(Slow):
        def show(self, result: Result) -> None:
            raise OSError("disk gone")

    failing = Failing()
    background = Background(failing, wait=True)
    for number in range(5):
        background.show(result(number))
    background.close()
    assert failing.closed
    assert "disk gone" in caplog.text


def test_watchdog_notifies_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        watchdog = SystemdWatchdog()
        watchdog.report(STATUS)
        first = systemd.recv(4096).decode().splitlines()
        assert first[0] == "READY=1"
        assert "WATCHDOG=1" in first
        assert any(line.startswith("STATUS=live, 30.0 fps") for line in first)
        watchdog.report(Status(state="live", source="s", uptime=99.0, inferring=31.0))
        assert "WATCHDOG" not in systemd.recv(4096).decode()
        watchdog.close()
        assert systemd.recv(4096) == b"STOPPING=1"
    watchdog.report(STATUS)  # the socket is gone
    monkeypatch.delenv("NOTIFY_SOCKET")
    SystemdWatchdog().report(STATUS)


def test_logs_are_json_lines_with_the_status() -> None:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, logger = Keep(), logging.getLogger("segnet_deploy.camera")
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        output = StatusLog()
        for state in ("live", "live", "stalled"):
            output.report(Status(state=state, source='a "quoted" name', uptime=1.0))
    finally:
        logger.removeHandler(handler)
    entries = [validated(json.loads(line)) for line in lines]
    assert [entry["status"]["state"] for entry in entries] == ["live", "stalled"]
    assert entries[0]["level"] == "info"
    assert entries[0]["time"].endswith("Z")


def test_window_without_a_display_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match="--serve"):
        Window(PALETTE, stop=lambda: None)


def test_outputs_are_added_by_keyword_and_closed_with_the_camera(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        cv2.imwrite(str(images / f"{number}.png"), np.full((48, 64, 3), 40 * number, np.uint8))
    labels, record = tmp_path / "labels.jsonl", tmp_path / "out.mp4"
    with Camera(lambda: sleeping(0), str(images), every_frame=True) as camera:
        add_outputs(camera, labels=labels, record=record, serve="127.0.0.1:0", min_free_bytes=0)
        assert len(camera.outputs) == 3
        assert len(list(camera.results())) == 3
    assert not camera.outputs
    assert len(labels.read_text().splitlines()) == 3
    assert len(decode(tmp_path / "out-00001.mp4")) == 3
