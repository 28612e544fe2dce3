"""The GStreamer recipe: real pipelines, by the camera loop and by the example."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import system_gi

from segnet_deploy.frames import read_image

pytestmark = pytest.mark.needs("gstreamer")
PROGRAM = Path(__file__).parents[2] / "examples/gstreamer/overlay_stream.py"
SOURCE = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=61,height=46,framerate=10/1"


def run(tmp_path: Path, *words: object) -> str:
    folder = tmp_path / "packages"
    folder.mkdir()
    command = [sys.executable, *map(str, words)]
    variables = system_gi.environment(folder)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_overlays_go_through_a_second_pipeline(small_model: Path, tmp_path: Path) -> None:
    """A width of 61 pixels: GStreamer pads the rows on both ways."""
    sink = f"jpegenc quality=100 ! multifilesink location={tmp_path}/%d.jpg"
    out = run(tmp_path, PROGRAM, small_model, SOURCE, sink, 4)
    pictures = [read_image(path) for path in sorted(tmp_path.glob("*.jpg"))]
    assert out.endswith(" frames\n")
    assert 0 < len(pictures) == int(out.split()[0])
    assert {picture.shape for picture in pictures} == {(46, 61, 3)}
    assert all(np.ptp(picture) > 0 for picture in pictures)


def test_camera_loop_reads_a_pipeline(small_model: Path, tmp_path: Path) -> None:
    words = ["--engine", small_model, "--source", SOURCE, "--duration", 4]
    words += ["--labels", tmp_path / "labels"]
    run(tmp_path, "-m", "segnet_deploy.cli.camera", *words)
    labels = sorted((tmp_path / "labels").glob("*.png"))
    assert labels
