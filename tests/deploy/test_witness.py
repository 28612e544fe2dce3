"""What files are judged by is never a rewrite of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
import torch
from torch.nn import functional

from segnet_deploy import ParityError, convert
from segnet_deploy.accuracy.agreement import compare_labels
from segnet_deploy.passes import lower_unpooling
from segnet_deploy.passes.scatter_unpooling import scatter_unpooling
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.runtimes.onnxruntime import open_witness
from segnet_deploy.scenes import draw_scene


@pytest.fixture
def wrong_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lowered form put every value into the opposite corner of its window."""
    right: Any = lower_unpooling._first_maximum
    monkeypatch.setattr(lower_unpooling, "_first_maximum", lambda *args: right(*args)[::-1])


@pytest.mark.usefixtures("wrong_masks")
def test_wrong_rewrite_fails_the_conversion(small_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="labels agree"):
        convert(small_model, tmp_path / "lowered.onnx", "lowered")
    assert not list(tmp_path.iterdir())


@pytest.mark.needs("openvino")
@pytest.mark.usefixtures("wrong_masks")
def test_wrong_rewrite_in_both_runs_of_a_file_is_seen(small_model: Path) -> None:
    frames = [draw_scene(0, 45, 61).frame]
    (found,) = compare_labels(small_model, small_model, frames, ["openvino"])
    assert found.mean < 0.95


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_witness_has_the_meaning_of_the_indices_at_odd_sizes(
    ceil_mode: bool, tmp_path: Path
) -> None:
    """ONNX Runtime's own MaxUnpool rejects an odd plane that was pooled in ceil mode."""
    shape = (1, 3, 7, 9)
    path = tmp_path / "m.onnx"
    graphs.ir.save(graphs.standard_pair(shape, ceil_mode), path)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y, index = functional.max_pool2d(
        torch.from_numpy(x), 2, return_indices=True, ceil_mode=ceil_mode
    )
    expected = functional.max_unpool2d(y, index, 2, output_size=shape)
    witness = open_witness(ModelFile.read(path))
    assert np.array_equal(witness.run_all(x)["z"], expected.numpy())
    assert not witness.operators


def test_definition_of_unpooling_needs_no_pool() -> None:
    model = graphs.standard_pair((2, 3, 6, 8), False)
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 8)).astype(np.float32)
    expected = graphs.run(model, x, "onnxruntime")
    changed = scatter_unpooling(model)
    assert changed.changed == 1
    assert "MaxUnpool" not in graphs.operators(changed.model)
    for found, want in zip(graphs.run(changed.model, x, "onnxruntime"), expected, strict=True):
        assert np.array_equal(found, want)


def test_results_that_are_not_finite_are_not_compared(tmp_path: Path) -> None:
    model = graphs.small_net()
    weight = model.graph.initializers["k.bias"]
    weight.const_value = graphs.ir.tensor(np.full(4, np.nan, np.float32), name="k.bias")
    graphs.ir.save(model, tmp_path / "m.onnx")
    with pytest.raises(ParityError, match="not finite"):
        convert(tmp_path / "m.onnx", tmp_path / "lowered.onnx", "lowered")
