"""Weights outside an ONNX file are read from the model's own folder only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
from onnx import helper as h
from onnx import numpy_helper

from segnet_deploy import InputError, load
from segnet_deploy.runtimes.model_file import load_model

WEIGHTS = np.random.default_rng(0).standard_normal((3, 3, 3, 3)).astype(np.float32)


def write_model(folder: Path, location: str = "weights.bin", **entries: int) -> Path:
    """Write a one-convolution model whose weights are external, and weights.bin next to it."""
    weight = numpy_helper.from_array(WEIGHTS, "w")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    conv = h.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    shape = [1, 3, 8, 8]
    proto = graphs.ir.to_proto(graphs.model([conv], {"x": shape}, {"y": shape}, []))
    proto.graph.initializer.append(weight)
    (folder / "weights.bin").write_bytes(WEIGHTS.tobytes())
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "outside.bin").write_bytes(WEIGHTS.tobytes())
    return tmp_path / "model"


def test_weights_next_to_the_model_are_read(folder: Path) -> None:
    path = write_model(folder)
    with load(path) as segmenter:
        y = segmenter.engine.run(np.ones((1, 3, 8, 8), np.float32))
    assert np.isclose(y[0, 0, 4, 4], WEIGHTS[0].sum(), rtol=1e-4)


def link(folder: Path) -> Path:
    (folder / "link.bin").symlink_to(folder.parent / "outside.bin")
    return write_model(folder, "link.bin")


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda f: write_model(f, "nowhere.bin"), "does not exist"),
    "absolute": (lambda f: write_model(f, str(f.parent / "outside.bin")), "outside the model's"),
    "absolute inside": (lambda f: write_model(f, str(f / "weights.bin")), "outside the model's"),
    "upwards": (lambda f: write_model(f, "../outside.bin"), "outside the model's folder"),
    "link": (link, "outside the model's folder"),
    "folder": (lambda f: write_model(f, "."), "does not exist"),
    "too long": (lambda f: write_model(f, "a" * 5000), "cannot be read"),
    "NUL": (lambda f: write_model(f, "a\0b"), "cannot be read"),
    "beyond the end": (lambda f: write_model(f, offset=4, length=WEIGHTS.nbytes), "bytes"),
    "too short": (lambda f: write_model(f, offset=0, length=8), "bytes"),
    "negative": (lambda f: write_model(f, offset=-4, length=WEIGHTS.nbytes), "truncated"),
}


@pytest.mark.parametrize("name", BAD)
def test_other_weights_are_one_line(name: str, folder: Path) -> None:
    make, words = BAD[name]
    path = make(folder)
    with pytest.raises(InputError, match=words):
        load_model(path)


@pytest.mark.parametrize("name", ["missing", "upwards", "link"])
def test_command_ends_with_one_line(name: str, folder: Path, street: Path) -> None:
    path = BAD[name][0](folder)
    command = [sys.executable, "-m", "segnet_deploy.cli.predict", "--engine", str(path)]
    done = subprocess.run(
        [*command, str(street), "-o", str(folder.parent / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: ")
