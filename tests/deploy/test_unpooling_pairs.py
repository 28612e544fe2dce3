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
from segnet_deploy.errors import EngineError, UnsupportedModelError
from segnet_deploy.passes.graph import infer_shapes, static_size
from segnet_deploy.passes.lower_unpooling import lower_unpooling
from segnet_deploy.passes.to_onnxruntime_ops import to_onnxruntime_ops
from segnet_deploy.passes.to_plugin_ops import to_plugin_ops
from segnet_deploy.passes.to_precision import to_precision
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
        (pair_with(pool={"kernel_shape": [2]}), ["the_pool", "a 2-D pool of (1, k)"]),
        (pair_with(pool={"kernel_shape": [2, 2, 2]}), ["the_pool", "3-D pools are not supported"]),
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
    ids=[
        "kernel",
        "1-D",
        "3-D",
        "stride",
        "pads",
        "dilation",
        "order",
        "size",
        "identity",
        "arithmetic",
    ],
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


def dynamic_pair(
    ceil_mode: int, size: list[onnx.NodeProto] | None, after: list[onnx.NodeProto] | None = None
) -> graphs.ir.Model:
    """Return relu(x) -> pool -> unpool (z) of dynamic size; `size` computes `size`, if given."""
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    names = ["y", "index", *(["size"] if size else [])]
    nodes = [
        h.make_node("Relu", ["x"], ["r"]),
        *(size or []),
        h.make_node("MaxPool", ["r"], ["y", "index"], name="the_pool", ceil_mode=ceil_mode,
                    **window),
        h.make_node("MaxUnpool", names, ["u"], name="the_unpool", **window),
        *(after or [h.make_node("Identity", ["u"], ["z"])]),
    ]  # fmt: skip
    numbers = {"one": [1], "two": [2], "four": [4], "axes": [2, 3], "from": [1, 0], "to": [5, 6],
               "pair": [2, 2], "offset": [0, 0, 1, 1]}  # fmt: skip
    used = {name for node in nodes for name in node.input}
    constants = [
        onnx.numpy_helper.from_array(np.array(v), name) for name, v in numbers.items()
        if name in used
    ]  # fmt: skip
    return graphs.model(nodes, {"x": [1, 2, "h", "w"]}, {"z": [1, 2, "a", "b"]}, constants)


def written(model: graphs.ir.Model, folder: Path) -> Path:
    path = folder / "m.onnx"
    graphs.ir.save(model, path)
    return path


def run_everywhere(model: graphs.ir.Model, x: Any, folder: Path) -> list[Any]:
    """Return the results of the lowered and the plugin form, or the errors, where they run."""
    results = []
    for name in runtimes.installed():
        try:
            with runtimes.open(written(model, folder), name, 1) as engine:
                assert name != "onnxruntime" or engine.operators
                results.append(np.array(engine.run(x)))
        except EngineError as error:
            results.append(error)
    return results


@pytest.mark.needs("ort-ops", "openvino", "ncnn")
@pytest.mark.parametrize("ceil_mode", [0, 1])
def test_dynamic_unpooling_without_output_shape_is_exact_or_an_error(
    ceil_mode: int, tmp_path: Path
) -> None:
    """Twice the pool's output is the pool's input at even sizes only."""
    rng = np.random.default_rng(0)
    for size in ((8, 12), (7, 12), (8, 11)):
        x = rng.standard_normal((1, 2, *size)).astype(np.float32)
        is_even = not (size[0] % 2 or size[1] % 2)
        results = run_everywhere(dynamic_pair(ceil_mode, None), x, tmp_path)
        assert [isinstance(result, EngineError) for result in results] == [not is_even] * 3
        lowered = lower_unpooling(dynamic_pair(ceil_mode, None)).model
        if is_even:
            expected = graphs.run(dynamic_pair(ceil_mode, None), x, "onnxruntime")[0]
            results.append(graphs.run(lowered, x, "onnxruntime")[0])
            assert all(np.array_equal(result, expected) for result in results)
        else:
            with pytest.raises(Exception, match="SpaceToDepth"):
                graphs.run(lowered, x, "onnxruntime")


SHAPES_OF_THE_POOLS_INPUT = {
    "shape": [h.make_node("Shape", ["r"], ["size"])],
    "before an activation": [h.make_node("Shape", ["x"], ["size"])],
    "from parts": [
        h.make_node("Shape", ["r"], ["s"]),
        h.make_node("Slice", ["s", "two", "four"], ["plane"]),
        h.make_node("Gather", ["s", "one"], ["channels"]),
        h.make_node("Concat", ["one", "channels", "plane"], ["size"], axis=0),
    ],
}
OTHER_SHAPES = {
    "one more": [h.make_node("Shape", ["r"], ["s"]), h.make_node("Add", ["s", "offset"], ["size"])],
    "exchanged": [
        h.make_node("Shape", ["r"], ["s"], start=2, end=3),
        h.make_node("Concat", ["one", "two", "s", "s"], ["size"], axis=0),
    ],
    "of another value": [
        h.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        h.make_node("Shape", ["p"], ["size"]),
    ],
}


@pytest.mark.parametrize("name", SHAPES_OF_THE_POOLS_INPUT)
def test_dynamic_output_shape_of_the_pools_input_is_exact(name: str, tmp_path: Path) -> None:
    size = SHAPES_OF_THE_POOLS_INPUT[name]
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 12)).astype(np.float32)
    expected = graphs.run(dynamic_pair(0, size), x, "onnxruntime")[0]
    for rewrite in (lower_unpooling, to_plugin_ops):
        rewrite(dynamic_pair(0, size))
    found = [r for r in run_everywhere(dynamic_pair(0, size), x, tmp_path) if
             not isinstance(r, EngineError)]  # fmt: skip
    assert found
    assert all(np.array_equal(result, expected) for result in found)


@pytest.mark.parametrize("name", OTHER_SHAPES)
@pytest.mark.parametrize("rewrite", [lower_unpooling, to_plugin_ops, to_onnxruntime_ops])
def test_dynamic_output_shape_of_something_else_is_refused(name: str, rewrite: Any) -> None:
    with pytest.raises(UnsupportedModelError, match=r"'the_unpool'.* does not show"):
        rewrite(dynamic_pair(0, OTHER_SHAPES[name]))


def test_slice_that_is_no_crop_to_the_pools_input_is_kept(tmp_path: Path) -> None:
    after = [h.make_node("Slice", ["u", "from", "to", "axes"], ["z"])]
    model = dynamic_pair(0, SHAPES_OF_THE_POOLS_INPUT["shape"], after)
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 12)).astype(np.float32)
    expected = graphs.run(model, x, "onnxruntime")[0]
    assert "Slice" in graphs.operators(to_plugin_ops(graphs.ir.from_proto(
        graphs.ir.to_proto(model))).model)  # fmt: skip
    for result in run_everywhere(model, x, tmp_path):
        assert not isinstance(result, EngineError)
        assert np.array_equal(result, expected)


def indices_of(kind: str) -> graphs.ir.Model:
    """Return pools whose indices reach the unpooling changed: some channels, or joined."""
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    if kind == "some channels":
        between = [
            h.make_node("Gather", ["y", "some"], ["v"], axis=1),
            h.make_node("Gather", ["index", "some"], ["i"], axis=1, name="some_channels"),
        ]
    else:
        between = [
            h.make_node("MaxPool", ["x"], ["y2", "index2"], name="other_pool", **window),
            h.make_node("Concat", ["y", "y2"], ["v"], axis=1),
            h.make_node("Concat", ["index", "index2"], ["i"], axis=1, name="joined"),
        ]
    nodes = [
        h.make_node("MaxPool", ["x"], ["y", "index"], name="the_pool", **window),
        *between,
        h.make_node("MaxUnpool", ["v", "i"], ["z"], name="the_unpool", **window),
    ]
    constants = [onnx.numpy_helper.from_array(np.array([0]), "some")]
    used = constants if kind == "some channels" else []
    return graphs.model(nodes, {"x": [1, 2, 8, 8]}, {"z": [1, "c", 8, 8]}, used)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("some channels", r"'the_pool'.* also feed Gather 'some_channels'; .*unpool all and slice"),
        ("joined", r"'the_pool'.* also feed Concat 'joined'; .*unpool each and join the results"),
    ],
)
def test_changed_indices_are_refused_with_advice(kind: str, words: str, tmp_path: Path) -> None:
    for rewrite in (lower_unpooling, to_plugin_ops):
        with pytest.raises(UnsupportedModelError, match=words):
            rewrite(indices_of(kind))
    if kind == "some channels":  # the advice: ONNX Runtime runs the file with ONNX's meaning
        x = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float32)
        expected = graphs.run(indices_of(kind), x, "onnxruntime")[0]
        with runtimes.open(written(indices_of(kind), tmp_path), "onnxruntime", 1) as engine:
            assert not engine.operators
            assert np.array_equal(engine.run(x), expected)


def test_shapes_of_a_bf16_file_are_inferred() -> None:
    """ONNX has bf16 convolutions since opset 22 only; files of older opsets have them as well."""
    model = to_precision(graphs.small_net(), "bf16").model
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    assert find_pairs(infer_shapes(model).graph)
    assert [static_size(pair.source) for pair in find_pairs(model.graph)] == [(8, 10)]


def test_pool_of_another_rank_is_refused() -> None:
    model = pair_with()
    model.graph.inputs[0].shape = graphs.ir.Shape([1, 2, 8])
    for rewrite in (lower_unpooling, to_plugin_ops):
        with pytest.raises(UnsupportedModelError, match="the_unpool"):
            rewrite(graphs.ir.from_proto(graphs.ir.to_proto(model)))
