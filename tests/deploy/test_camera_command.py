"""segnet-camera as a user runs it: on files, a real HTTP camera and the synthetic scene."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from documents import validated
from sleep_engine import sleeping

from segnet_deploy.camera import Camera
from segnet_deploy.camera.sources.base import SourceOptions
from segnet_deploy.camera.sources.find import find_source
from segnet_deploy.cli import camera as camera_cli
from segnet_deploy.frames import read_image
from segnet_deploy.scenes import draw_scene


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video of 12 frames, 64x48 at 20 fps; frame n is (20 n, 100, 50) in BGR."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            picture = np.full((48, 64, 3), (20 * number, 100, 50), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        file.mux(stream.encode(None))
    return path


def command(engine: Path, *words: object) -> list[str]:
    program = [sys.executable, "-m", "segnet_deploy.cli.camera", "--engine", str(engine)]
    return program + ["--runtime", "onnxruntime", *map(str, words)]


def test_every_frame_of_a_video_becomes_a_label_image(
    small_model: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, record = tmp_path / "labels", tmp_path / "out.mp4"
    words = ["--engine", str(small_model), "--source", str(clip), "--every-frame"]
    words += ["--labels", str(labels), "--record", str(record), "--min-free", "0"]
    assert camera_cli.main(words) == 0
    assert len(list(labels.iterdir())) == 12
    assert "12 frames shown" in capsys.readouterr().err
    with av.open(str(tmp_path / "out-00001.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 12


def test_video_frames_have_their_colours(clip: Path) -> None:
    source = find_source(str(clip), SourceOptions(paced=False))
    camera = Camera(lambda: sleeping(0), source, every_frame=True)
    colours = [result.frame.mean(axis=(0, 1)) for result in camera.results()]
    assert np.allclose(colours, [(20 * n, 100, 50) for n in range(12)], atol=9)


def test_video_plays_at_its_own_speed_and_loops(clip: Path) -> None:
    camera = Camera(lambda: sleeping(0), find_source(str(clip), SourceOptions(loop=True)))
    times = []
    for result in camera.results():
        times.append(result.captured)
        if len(times) == 30:
            break
    assert times[-1] - times[0] > 1.0  # 29 intervals of 50 ms


def test_folder_of_images_is_shown_in_order(tmp_path: Path) -> None:
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((9, 11, 3), number, np.uint8))
    (tmp_path / "3.png").write_bytes(b"no picture")
    source = find_source(str(tmp_path), SourceOptions(paced=False))
    camera = Camera(lambda: sleeping(0), source, every_frame=True)
    assert [int(result.frame[0, 0, 0]) for result in camera.results()] == [0, 1, 2, 4]
    assert camera.status().errors == 1


def test_damaged_video_is_played_as_far_as_possible(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    middle = data.find(b"mdat") + 800
    data[middle : middle + 60] = bytes(60)
    (tmp_path / "damaged.mp4").write_bytes(data)
    source = find_source(str(tmp_path / "damaged.mp4"), SourceOptions(paced=False))
    assert 1 <= len(list(Camera(lambda: sleeping(0), source, every_frame=True).results())) <= 12


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signal_leaves_only_whole_files(
    number: signal.Signals, small_model: Path, tmp_path: Path
) -> None:
    """A signal that can be caught ends the command with 0; after a kill, all files are usable."""
    record, log, labels = tmp_path / "out.mp4", tmp_path / "log", tmp_path / "labels"
    words = ["--source", "synthetic", "--size", "48x64", "--record", record, "--min-free", 0]
    with open(log, "w") as stream:
        process = subprocess.Popen(
            command(small_model, *words, "--labels", labels, "--log-json"),
            stderr=stream,
            stdout=stream,
        )
        wait_for(lambda: (tmp_path / "out-00001.mp4").exists())
        process.send_signal(number)
        assert process.wait(60) == (-number if number is signal.SIGKILL else 0)
    with av.open(str(tmp_path / "out-00001.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) > 5
    images = [path for path in labels.iterdir() if not path.name.startswith(".")]
    assert len(images) > 5
    assert all(read_image(path).shape == (48, 64, 3) for path in images)
    if number is not signal.SIGKILL:
        assert set(tmp_path.iterdir()) == {log, labels, tmp_path / "out-00001.mp4"}
        lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
        assert [validated(json.loads(line))["status"]["state"] for line in lines][-1] == "ended"


def test_config_file_sets_options(
    small_model: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "camera.toml"
    config.write_text(
        f'engine = "{small_model}"\nsource = "synthetic"\nevery_frame = true\n'
        f'labels = "{tmp_path / "labels.jsonl"}"\nmin-free = 0\n'
    )
    assert camera_cli.main(["--config", str(config), "--source", str(clip)]) == 0
    assert len((tmp_path / "labels.jsonl").read_text().splitlines()) == 12
    config.write_text("colour = 3\n")
    with pytest.raises(SystemExit) as caught:
        camera_cli.main(["--config", str(config), "--engine", "x.onnx", "--source", "0"])
    assert caught.value.code == 2
    assert "'colour' is not an option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--source", "missing.mp4"], 1, "no such file"),
        (["--source", "synthetic", "--every-frame"], 2, "live"),
        (["--source", "synthetic", "--max-age", "0"], 2, "--max-age 0"),
        (["--source", "synthetic", "--alpha", "7"], 2, "--alpha 7"),
        (["--source", "synthetic", "--record", "/no/such/out.mp4"], 1, "cannot record"),
    ],
)
def test_bad_usage_is_one_line(
    small_model: Path,
    words: list[str],
    status: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert camera_cli.main(["--engine", str(small_model), *words]) == status
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ")
    assert message in error[-1]


def test_file_that_is_not_a_video_is_one_line(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.mp4").write_bytes(b"not a video at all" * 99)
    words = ["--engine", str(small_model), "--source", str(tmp_path / "text.mp4")]
    assert camera_cli.main(words) == 1
    assert "cannot open" in capsys.readouterr().err


class HttpCamera(http.server.BaseHTTPRequestHandler):
    """Motion JPEG, as cheap cameras serve it; every third picture is truncated."""

    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
        self.end_headers()
        with contextlib.suppress(OSError):
            for number in range(300):
                jpeg = cv2.imencode(".jpg", draw_scene(number % 4, 48, 64).frame)[1].tobytes()
                jpeg = jpeg[: len(jpeg) // 2] if number % 3 == 2 else jpeg
                head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.02)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def http_camera() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HttpCamera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/video.mjpg"
    server.shutdown()
    server.server_close()


def test_http_camera_with_truncated_pictures(http_camera: str) -> None:
    whole = [draw_scene(number, 48, 64).frame for number in range(4)]

    def close(a: np.ndarray, b: np.ndarray) -> bool:
        return float(np.abs(a.astype(int) - b).mean()) < 12

    with Camera(lambda: sleeping(0), http_camera) as camera:
        for count, result in enumerate(camera.results()):
            assert result.frame.shape == (48, 64, 3)
            assert any(close(result.frame, scene) for scene in whole)
            if count == 12:
                break
    assert camera.status().errors >= 3
    wait_for(camera.close)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_service_file_is_valid_for_systemd(tmp_path: Path) -> None:
    unit = Path(__file__).parents[2] / "examples" / "systemd" / "segnet-camera.service"
    text = unit.read_text().replace("/opt/segnet/bin/segnet-camera", "/bin/true")
    copy = tmp_path / unit.name
    copy.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert unit.name not in done.stderr, done.stderr


def wait_for(condition: object, limit: float = 90.0) -> None:
    assert callable(condition)
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
