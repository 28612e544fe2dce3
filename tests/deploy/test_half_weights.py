"""Weights stored in fp16: half the file, computed in fp32, the same for every reader."""

from __future__ import annotations

from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx import helper as h

from segnet_deploy import load, runtimes
from segnet_deploy.passes.half_weights import compress_weights, expand_weights
from segnet_deploy.runtimes.model_file import ModelFile, load_model, save_model
from segnet_deploy.scenes import draw_scene


@pytest.fixture(scope="module")
def compressed(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "half.onnx"
    result = compress_weights(load_model(small_model))
    assert result.changed
    save_model(result.model, path)
    return path


def test_file_is_smaller_and_valid_onnx(small_model: Path, compressed: Path) -> None:
    onnx.checker.check_model(compressed)
    assert compressed.stat().st_size < small_model.stat().st_size
    kinds = {w.data_type for w in onnx.load(compressed).graph.initializer if len(w.dims) == 4}
    assert TensorProto.FLOAT16 in kinds


def test_readers_see_fp32_weights_rounded_once(small_model: Path, compressed: Path) -> None:
    before, after = load_model(small_model), load_model(compressed)
    assert ModelFile.read(compressed).precision == "fp32"
    assert [n.op_type for n in after.graph] == [n.op_type for n in before.graph]
    for node, other in zip(before.graph, after.graph, strict=True):
        if node.op_type != "Conv":
            continue
        weights, read = (n.inputs[1].const_value.numpy() for n in (node, other))
        assert read.dtype == np.float32
        rounded = weights.astype(np.float16).astype(np.float32)
        assert np.array_equal(read, rounded if weights.size >= 256 else weights)


@pytest.mark.parametrize("runtime", runtimes.installed())
def test_each_runtime_computes_in_fp32(compressed: Path, tmp_path: Path, runtime: str) -> None:
    """The same logits as from the file with its weights written out."""
    save_model(load_model(compressed), tmp_path / "expanded.onnx")
    frame = draw_scene(3, 45, 61).frame
    outputs = []
    for path in (compressed, tmp_path / "expanded.onnx"):
        with load(path, runtime) as segmenter:
            outputs.append(segmenter.run(frame)["logits"])
    assert np.array_equal(*outputs)


def test_large_weights_and_other_casts_stay() -> None:
    shape = [1, 300]
    nodes = [
        h.make_node("Add", ["x", "large"], ["sum"]),
        h.make_node("Cast", ["sum"], ["half"], to=TensorProto.FLOAT16),
        h.make_node("Cast", ["half"], ["back"], to=TensorProto.FLOAT),
        h.make_node("Cast", ["stored"], ["double"], to=TensorProto.DOUBLE),
        h.make_node("Cast", ["double"], ["single"], to=TensorProto.FLOAT),
        h.make_node("Add", ["back", "single"], ["y"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.full(shape, 1e6, np.float32), "large"),
        onnx.numpy_helper.from_array(np.full(shape, 2, np.float16), "stored"),
    ]
    model = graphs.model(nodes, {"x": shape}, {"y": shape}, constants)
    assert compress_weights(model).changed == 0
    assert expand_weights(model).changed == 0
