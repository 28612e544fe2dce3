"""The lowered pair equals PyTorch's max_pool2d and max_unpool2d in each runtime."""

from __future__ import annotations

import cases
import cv2
import graphs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional as F

from segnet_deploy.passes.lower_unpooling import lower_unpooling
from segnet_deploy.passes.to_plugin_ops import to_plugin_ops

RUNTIMES = ("onnxruntime", "openvino")


def torch_pair(x: cases.Array, ceil_mode: bool) -> tuple[cases.Array, cases.Array]:
    t = torch.from_numpy(x)
    y, index = F.max_pool2d(t, 2, 2, ceil_mode=ceil_mode, return_indices=True)
    z = F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=list(x.shape[2:]))
    return y.numpy(), z.numpy()


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_table_reference_is_pytorch(case: cases.PoolCase) -> None:
    x = case.make()
    y, index = cases.pool_reference(x, case.ceil_mode)
    expected = torch_pair(x, case.ceil_mode)
    assert np.array_equal(y, expected[0])
    assert np.array_equal(cases.unpool_reference(y, index, x.shape[2:]), expected[1])


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("via_plugin", [False, True], ids=["direct", "via-plugin"])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("ceil_mode", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize("shape", [*cases.SHAPES, (2, 2, 1, 1)], ids=str)
def test_lowered_pair_equals_pytorch_on_the_table(
    shape: tuple[int, int, int, int], ceil_mode: bool, dynamic: bool, via_plugin: bool
) -> None:
    found = [c for c in cases.CASES if c.shape == shape and c.ceil_mode == ceil_mode]
    if not found:
        pytest.skip("floor pooling of 1x1 is empty")
    model = graphs.standard_pair(shape, ceil_mode, dynamic)
    if via_plugin:
        model = to_plugin_ops(model).model
    model = lower_unpooling(model).model
    assert not {"MaxUnpool", "MaxPool", "ScatterND"} & set(graphs.operators(model))
    for case in found:
        x = case.make()
        expected = torch_pair(x, ceil_mode)
        for runtime in RUNTIMES:
            got = graphs.run(model, x, runtime)
            for have, want in zip(got, expected, strict=True):
                assert np.array_equal(have, want), (runtime, str(case))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (2, 3, 5, 7)], ids=["even", "odd-floor"])
def test_standard_pair_equals_pytorch_in_onnxruntime(
    shape: tuple[int, int, int, int], dynamic: bool
) -> None:
    x = cases.PoolCase(shape, False, "ties").make()
    got = graphs.run(graphs.standard_pair(shape, False, dynamic), x, "onnxruntime")
    for have, want in zip(got, torch_pair(x, False), strict=True):
        assert np.array_equal(have, want)


@pytest.mark.parametrize("ceil_mode", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize("shape", [(1, 3, 44, 60), (1, 3, 45, 61), (2, 5, 7, 9)], ids=str)
def test_lowered_pair_runs_in_opencv(shape: tuple[int, int, int, int], ceil_mode: bool) -> None:
    model = lower_unpooling(graphs.standard_pair(shape, ceil_mode)).model
    data = np.frombuffer(graphs.ir.to_proto(model).SerializeToString(), np.uint8)
    x = cases.PoolCase(shape, ceil_mode, "ties").make()
    net = cv2.dnn.readNetFromONNX(data)
    net.setInput(x)
    assert np.array_equal(net.forward("z"), torch_pair(x, ceil_mode)[1])


VALUE = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf")]),
    st.floats(width=32, allow_nan=False, allow_subnormal=False),
)
SHAPE = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 7), st.integers(2, 7))
INPUT = SHAPE.flatmap(lambda shape: arrays(np.float32, shape, elements=VALUE))


@settings(max_examples=60, deadline=None)
@given(x=INPUT, ceil_mode=st.booleans())
def test_lowered_pair_equals_pytorch_for_any_values(x: cases.Array, ceil_mode: bool) -> None:
    model = lower_unpooling(graphs.standard_pair(x.shape, ceil_mode)).model
    expected = torch_pair(x, ceil_mode)
    for runtime in RUNTIMES:
        got = graphs.run(model, x, runtime)
        for have, want in zip(got, expected, strict=True):
            assert np.array_equal(have, want), runtime


def test_non_negative_input_is_padded_with_zero_not_infinity() -> None:
    from onnx import helper as h

    pair = graphs.ir.to_proto(graphs.standard_pair((1, 2, 5, 7), True))
    pair.graph.node.insert(0, h.make_node("Relu", ["image"], ["x"]))
    pair.graph.input[0].name = "image"
    model = lower_unpooling(graphs.ir.from_proto(pair)).model
    values = [v.const_value.numpy() for v in model.graph.initializers.values()]
    assert not any(np.isinf(v).any() for v in values if v.dtype == np.float32)
    x = cases.PoolCase((1, 2, 5, 7), True, "ties").make()
    expected = torch_pair(np.maximum(x, 0), True)
    for runtime in RUNTIMES:
        assert np.array_equal(graphs.run(model, x, runtime)[1], expected[1])


def test_masks_compare_elements_with_one_another_never_with_the_maximum() -> None:
    model = lower_unpooling(graphs.standard_pair((1, 2, 4, 4), False)).model
    maximum = next(node for node in model.graph if node.op_type == "Max").outputs[0]
    users = {use.node.op_type for use in maximum.uses()}
    assert not users & {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}


def test_lowering_twice_changes_nothing_more() -> None:
    once = lower_unpooling(graphs.standard_pair((1, 2, 5, 4), True)).model
    assert lower_unpooling(once).changed == 0


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nan_keeps_one_element_of_its_window(runtime: str, place: int) -> None:
    x = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
    x[0, 0, place // 2, place % 2] = np.nan
    y, z = graphs.run(lower_unpooling(graphs.standard_pair((1, 1, 4, 4), False)).model, x, runtime)
    if runtime == "onnxruntime":
        assert np.isnan(y[0, 0, 0, 0])
        assert np.isnan(z[0, 0, :2, :2]).sum() == 1
    else:
        assert np.isnan(y).any() == (place == 3)
        assert (z[0, 0, :2, :2] != 0).sum() == 1
    assert np.array_equal(z[0, 0, 2:], [[0, 0, 0, 0], [0, 14, 0, 16]])
