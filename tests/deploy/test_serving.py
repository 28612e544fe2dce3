"""A version of a served model, opened as the server's Python opens it, without a server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from segnet_deploy import load
from segnet_deploy.errors import InputError
from segnet_deploy.scenes import draw_scene
from segnet_deploy.serving.repository import ServingOptions, write_repository
from segnet_deploy.serving.triton_models import open_version


@pytest.fixture
def external(small_model: Path, tmp_path: Path) -> Path:
    """Return the small model with its weights in a second file."""
    path = tmp_path / "external.onnx"
    onnx.save(
        onnx.load(small_model),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    return path


def test_external_weights_are_served_with_their_model(
    external: Path, small_model: Path, tmp_path: Path
) -> None:
    frame = draw_scene(0, 45, 61).frame
    with load(small_model, "onnxruntime") as segmenter:
        expected = segmenter.segment(frame)
    options = ServingOptions(runtime="onnxruntime")
    write_repository(external, tmp_path / "models", options)
    with open_version(tmp_path / "models/segnet/1") as served:
        assert np.array_equal(served.segment(frame), expected)
    options = ServingOptions(name="raw", backend="onnxruntime")
    write_repository(external, tmp_path / "models", options)
    model = onnx.load(tmp_path / "models/raw/1/model.onnx", load_external_data=False)
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_changed_weights_are_refused(external: Path, tmp_path: Path) -> None:
    write_repository(external, tmp_path / "models", ServingOptions(runtime="onnxruntime"))
    weights = tmp_path / "models/segnet/1/weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match="not the file that was put there"):
        open_version(tmp_path / "models/segnet/1")
