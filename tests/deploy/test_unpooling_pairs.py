"""Which pairs are refused, with messages that name the node and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx
import pytest
from onnx import helper as h
from onnx.reference import ReferenceEvaluator

from segnet_deploy import convert, runtimes
from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.lower_unpooling import lower_unpooling
from segnet_deploy.passes.to_onnxruntime_ops import to_onnxruntime_ops
from segnet_deploy.passes.to_plugin_ops import to_plugin_ops
from segnet_deploy.passes.unpooling_pairs import find_pairs, is_non_negative


def pair_with(
    pool: dict[str, Any] | None = None,
    unpool: dict[str, Any] | None = None,
    between: list[onnx.NodeProto] | None = None,
    index: str = "index",
    size: tuple[int, ...] = (1, 2, 8, 8),
) -> graphs.ir.Model:
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        h.make_node("MaxPool", ["x"], ["y", "index"], name="the_pool", **(window | (pool or {}))),
        *(between or []),
        h.make_node(
            "MaxUnpool",
            ["y", index, "size"],
            ["z"],
            name="the_unpool",
            **(window | (unpool or {})),
        ),
    ]
    constants = [onnx.numpy_helper.from_array(np.array(size), "size")]
    return graphs.model(nodes, {"x": [1, 2, 8, 8]}, {"z": list(size)}, constants)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (pair_with(pool={"kernel_shape": [3, 3]}), ["the_pool", "kernel [3, 3]"]),
        (pair_with(pool={"strides": [1, 1]}), ["the_pool", "strides [1, 1]"]),
        (pair_with(pool={"pads": [1, 1, 1, 1]}), ["the_pool", "pads"]),
        (pair_with(pool={"dilations": [2, 2]}), ["the_pool", "dilations"]),
        (pair_with(pool={"storage_order": 1}), ["the_pool", "storage_order"]),
        (pair_with(size=(1, 2, 10, 10)), ["the_unpool", "10x10", "8x8"]),
        (
            pair_with(between=[h.make_node("Identity", ["index"], ["i2"])], index="i2"),
            ["the_pool", "Identity"],
        ),
        (
            pair_with(between=[h.make_node("Add", ["index", "index"], ["i2"])], index="i2"),
            ["the_pool", "Add"],
        ),
    ],
    ids=["kernel", "stride", "pads", "dilation", "order", "size", "identity", "arithmetic"],
)
@pytest.mark.parametrize("rewrite", [lower_unpooling, to_plugin_ops])
def test_inexact_pair_is_refused_by_name(rewrite: Any, model: Any, words: list[str]) -> None:
    fresh = graphs.ir.from_proto(graphs.ir.to_proto(model))
    with pytest.raises(UnsupportedModelError) as caught:
        rewrite(fresh)
    for word in words:
        assert word in str(caught.value)


def test_index_that_is_not_from_a_pool_is_refused() -> None:
    nodes = [
        h.make_node("MaxUnpool", ["x", "i"], ["z"], name="lonely", kernel_shape=[2, 2],
                    strides=[2, 2])
    ]  # fmt: skip
    constants = [onnx.numpy_helper.from_array(np.zeros((1, 2, 8, 8), np.int64), "i")]
    model = graphs.model(nodes, {"x": [1, 2, 8, 8]}, {"z": [1, 2, 16, 16]}, constants)
    with pytest.raises(UnsupportedModelError, match="lonely"):
        lower_unpooling(model)


def test_pool_without_indices_stays_unchanged() -> None:
    nodes = [h.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])]
    model = graphs.model(nodes, {"x": [1, 2, 8, 8]}, {"y": [1, 2, 4, 4]})
    result = lower_unpooling(model)
    assert result.changed == 0
    assert graphs.operators(result.model) == ["MaxPool"]


def test_two_unpoolings_may_share_a_pool() -> None:
    model = graphs.ir.to_proto(graphs.standard_pair((1, 2, 4, 6), False))
    model.graph.node.append(
        h.make_node("MaxUnpool", ["y", "index"], ["z2"], kernel_shape=[2, 2], strides=[2, 2])
    )
    model.graph.output.append(h.make_tensor_value_info("z2", onnx.TensorProto.FLOAT, [1, 2, 4, 6]))
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 6)).astype(np.float32)
    _, z, z2 = graphs.run(lower_unpooling(graphs.ir.from_proto(model)).model, x, "onnxruntime")
    assert np.array_equal(z, z2)


def test_non_negative_is_proved_through_the_graph() -> None:
    nodes = [
        h.make_node("Relu", ["x"], ["a"]),
        h.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
        h.make_node("Neg", ["b"], ["c"]),
    ]
    graph = graphs.model(nodes, {"x": [1, 1, 4, 4]}, {"c": [1, 1, 2, 2]}).graph
    relu, pool, negative = list(graph)
    assert is_non_negative(relu.outputs[0])
    assert is_non_negative(pool.outputs[0])
    assert not is_non_negative(negative.outputs[0])
    assert not is_non_negative(graph.inputs[0])
    assert find_pairs(graph) == []


def flat_pair(height: int, width: int) -> graphs.ir.Model:
    """Return x -> pool in ceil mode -> unpool without output_shape -> slice to the size of x."""
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        h.make_node("MaxPool", ["x"], ["y", "index"], name="the_pool", ceil_mode=1, **window),
        h.make_node("MaxUnpool", ["y", "index"], ["u"], name="the_unpool", **window),
        h.make_node("Slice", ["u", "start", "end", "axes"], ["z"]),
    ]
    numbers = {"start": [0, 0], "end": [height, width], "axes": [2, 3]}
    constants = [onnx.numpy_helper.from_array(np.array(v), name) for name, v in numbers.items()]
    shape = [1, 2, height, width]
    return graphs.model(nodes, {"x": shape}, {"z": shape}, constants)


@pytest.mark.parametrize("rewrite", [lower_unpooling, to_plugin_ops, to_onnxruntime_ops])
def test_flat_indices_of_a_plane_of_another_size_are_refused(rewrite: Any) -> None:
    with pytest.raises(UnsupportedModelError, match=r"'the_unpool'.*32x48.*read 31x47"):
        rewrite(flat_pair(31, 47))
    rewrite(flat_pair(32, 48))


def test_file_with_such_indices_keeps_its_own_meaning(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    graphs.ir.save(flat_pair(31, 47), path)
    x = np.random.default_rng(0).standard_normal((1, 2, 31, 47)).astype(np.float32)
    expected = ReferenceEvaluator(onnx.load(path)).run(None, {"x": x})[0]
    engine = runtimes.open(path)
    assert engine.name == "onnxruntime"
    assert np.array_equal(engine.run(x), expected)
    for form in ("lowered", "plugin"):
        with pytest.raises(UnsupportedModelError, match="cannot be rewritten exactly"):
            convert(path, tmp_path / "other.onnx", form)
    assert list(tmp_path.iterdir()) == [path]
    convert(path, tmp_path / "standard.onnx", "standard")
    assert np.array_equal(runtimes.open(tmp_path / "standard.onnx").run(x), expected)
