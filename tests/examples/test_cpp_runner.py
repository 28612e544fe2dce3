"""The C++ runner of examples/cpp, built against ONNX Runtime's headers: its labels are Python's."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from small_segnet import ORT, small

from segnet_deploy import load
from segnet_deploy.runtimes.onnxruntime import operator_library
from segnet_deploy.scenes import draw_scene
from segnet_deploy.types import Frame
from segnet_export import export

pytestmark = pytest.mark.needs("compiler", "ort-headers", "ort-ops")
SOURCE = Path(__file__).parents[2] / "examples/cpp"
SIZE = (45, 53)
FRAMES = 10


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the runner with its own CMakeLists, and the library of the installed wheel."""
    if shutil.which("cmake") is None:
        pytest.skip("no cmake on PATH")
    given = Path(os.environ["ONNXRUNTIME_ROOT"])
    header = next(given.rglob("onnxruntime_cxx_api.h"), None)
    if header is None:
        pytest.skip(f"ONNXRUNTIME_ROOT={given} has no onnxruntime_cxx_api.h: C headers alone")
    root, build = tmp_path_factory.mktemp("ort"), tmp_path_factory.mktemp("build")
    (root / "include").symlink_to(header.parent)
    (root / "lib").mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (root / "lib" / name).symlink_to(library())
    options = [f"-DONNXRUNTIME_ROOT={root}", "-DCMAKE_CXX_FLAGS=-Werror"]
    call("cmake", "-S", SOURCE, "-B", build, *options)
    call("cmake", "--build", build)
    return build / "segnet_run"


def library() -> Path:
    """Return the shared library of ONNX Runtime's wheel."""
    spec = find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    found = sorted((Path(spec.origin).parent / "capi").glob("libonnxruntime.so*"))
    if not found:
        pytest.skip("this wheel of ONNX Runtime has no libonnxruntime.so to link")
    return found[0]


def call(*words: object, feed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run([str(w) for w in words], input=feed, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done


def ppm(frame: Frame) -> bytes:
    height, width = frame.shape[:2]
    return b"P6\n# BGR -> RGB\n%d %d\n255\n" % (width, height) + frame[..., ::-1].tobytes()


def read_pgm(path: Path) -> Frame:
    magic, width, height, rest = path.read_bytes().split(maxsplit=3)
    assert magic == b"P5"
    pixels = rest.partition(b"\n")[2]
    return np.frombuffer(pixels, np.uint8).reshape(int(height), int(width))


@pytest.mark.parametrize("form", ["plugin", "standard"])
def test_runner_labels_equal_pythons_on_ten_frames(form: str, runner: Path, tmp_path: Path) -> None:
    """The plugin form needs our operators; the standard form runs on ONNX Runtime's own."""
    path = tmp_path / "m.onnx"
    scale = {"mean": (104.0, 117.0, 123.0), "std": (58.0, 59.0, 60.0), "channel_order": "rgb"}
    export(small(), torch.zeros(1, 3, *SIZE), path, io="frame", form=form, **scale, **ORT)
    frames = [draw_scene(seed, *SIZE).frame for seed in range(FRAMES)]
    with load(path, runtime="onnxruntime", threads=1) as segmenter:
        expected = [segmenter.segment(frame).copy() for frame in frames]
    assert len(np.unique(expected)) > 1
    operators = ["--ops", operator_library()] if form == "plugin" else []
    words = [runner, path, "-o", tmp_path / "piped", "--threads", 1, *operators]
    out = call(*words, feed=b"".join(map(ppm, frames))).stdout  # several frames on stdin
    assert out.startswith(b"10 frames, ")
    for number, labels in enumerate(expected):
        found = read_pgm(tmp_path / "piped" / f"{number:06}.pgm")
        assert (found == labels).all()
    (tmp_path / "a.ppm").write_bytes(ppm(frames[3]))
    call(runner, path, "-o", tmp_path / "named", *operators, tmp_path / "a.ppm")
    assert (read_pgm(tmp_path / "named/000000.pgm") == expected[3]).all()


def test_runner_reports_bad_input_in_one_line(runner: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export(small(), torch.zeros(1, 3, *SIZE), path, io="frame", **ORT)
    tensors = tmp_path / "tensor.onnx"
    export(small(), torch.zeros(1, 3, *SIZE), tensors, **ORT)
    frame = draw_scene(0, *SIZE).frame
    files = {"wide": ppm(np.hstack([frame, frame])), "cut": ppm(frame)[:-9], "png": b"\x89PNG"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    cases: list[tuple[list[object], int, str]] = [
        ([path, "-o", tmp_path / "o", tmp_path / "wide"], 1, "the file needs 53x45"),
        ([path, "-o", tmp_path / "o", tmp_path / "cut"], 1, "is truncated"),
        ([path, "-o", tmp_path / "o", tmp_path / "png"], 1, "not a binary PPM"),
        ([path, "-o", tmp_path / "o", tmp_path / "missing"], 1, "no such file"),
        ([tensors, "-o", tmp_path / "o"], 1, "--io frame"),
        ([tmp_path / "missing.onnx", "-o", tmp_path / "o"], 1, "missing.onnx"),
        ([path, "-o"], 2, "expected a value"),
        ([path], 2, "usage: "),
    ]
    for words, status, expected in cases:
        done = subprocess.run([str(w) for w in (runner, *words)], capture_output=True, check=False)
        assert done.returncode == status, words
        assert done.stderr.startswith(b"error: "), words
        assert expected.encode() in done.stderr, words
        assert done.stderr.count(b"\n") == 1, words
    assert not list((tmp_path / "o").glob("*"))
