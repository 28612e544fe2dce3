"""The plugin form: names and attributes of the contract, static and dynamic."""

from __future__ import annotations

import graphs
import numpy as np
import onnx
import pytest
from onnx import helper as h

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes import contract
from segnet_deploy.passes.to_plugin_ops import to_plugin_ops


def test_contract_names_are_frozen() -> None:
    """Changing any of these breaks every file and library in use."""
    assert contract.DOMAIN == "segnet"
    assert (contract.POOL, contract.UNPOOL) == ("SegNetMaxPool", "SegNetMaxUnpool")
    assert contract.PLUGIN_VERSION == "1"


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_static_pair_gets_height_and_width(ceil_mode: bool) -> None:
    model = to_plugin_ops(graphs.standard_pair((1, 3, 45, 60), ceil_mode)).model
    pool, unpool = list(model.graph)
    assert (pool.op_type, unpool.op_type) == (contract.POOL, contract.UNPOOL)
    assert pool.domain == unpool.domain == contract.DOMAIN
    assert len(pool.outputs) == 2
    assert pool.attributes["ceil_mode"].as_int() == ceil_mode
    assert unpool.attributes["height"].as_int() == 45
    assert unpool.attributes["width"].as_int() == 60
    for node in (pool, unpool):
        assert node.attributes["plugin_version"].as_string() == contract.PLUGIN_VERSION
        assert node.attributes["plugin_namespace"].as_string() == contract.PLUGIN_NAMESPACE


def test_dynamic_pair_reads_the_image_and_a_level() -> None:
    model = to_plugin_ops(graphs.standard_pair((1, 3, 45, 60), True, dynamic=True)).model
    unpool = next(node for node in model.graph if node.op_type == contract.UNPOOL)
    assert unpool.inputs[2] is model.graph.inputs[0]
    assert unpool.attributes["level"].as_int() == 0
    assert "height" not in unpool.attributes


WINDOW = {"kernel_shape": [2, 2], "strides": [2, 2]}


def pair_after(*nodes: onnx.NodeProto) -> graphs.ir.Model:
    """Return image -> `nodes`, which compute x -> pool and unpool, of dynamic size."""
    made = graphs.ir.to_proto(graphs.standard_pair((1, 3, 8, 8), False, dynamic=True))
    for number, node in enumerate(nodes):
        made.graph.node.insert(number, node)
    made.graph.input[0].name = "image"
    used = {name for node in nodes for name in node.input}
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    if "w" in used:
        made.graph.initializer.append(onnx.numpy_helper.from_array(kernel, "w"))
    if "scales" in used:
        made.graph.initializer.append(
            onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
        )
    return graphs.ir.from_proto(made)


@pytest.mark.parametrize(
    "node",
    [
        h.make_node("MaxPool", ["image"], ["x"], name="bad", ceil_mode=1, **WINDOW),
        h.make_node("MaxPool", ["image"], ["x"], name="bad", pads=[1, 1, 1, 1], **WINDOW),
        h.make_node(
            "MaxPool",
            ["image"],
            ["x"],
            name="bad",
            kernel_shape=[3, 3],
            strides=[2, 2],
            pads=[1, 1, 1, 1],
        ),
        h.make_node("AveragePool", ["image"], ["x"], name="bad", **WINDOW),
        h.make_node("Conv", ["image", "w"], ["x"], name="bad", pads=[1] * 4, strides=[2, 2]),
        h.make_node("Conv", ["image", "w"], ["x"], name="bad"),
        h.make_node("ConvTranspose", ["image", "w"], ["x"], name="bad"),
        h.make_node("Resize", ["image", "", "scales"], ["x"], name="bad"),
    ],
    ids=lambda node: str(node.op_type),
)
def test_dynamic_size_after_another_change_of_size_is_refused(node: onnx.NodeProto) -> None:
    with pytest.raises(UnsupportedModelError, match=f"{node.op_type} 'bad' changes the size"):
        to_plugin_ops(pair_after(node))


def test_level_counts_halvings_only() -> None:
    model = pair_after(
        h.make_node("Conv", ["image", "w"], ["a"], pads=[1] * 4),
        h.make_node("MaxPool", ["a"], ["b"], **WINDOW),
        h.make_node("Conv", ["b", "w"], ["c"], pads=[2] * 4, dilations=[2, 2]),
        h.make_node("MaxPool", ["c"], ["d"], kernel_shape=[3, 3], pads=[1] * 4),
        h.make_node("MaxPool", ["d"], ["x"], **WINDOW),
    )
    unpool = next(n for n in to_plugin_ops(model).model.graph if n.op_type == contract.UNPOOL)
    assert unpool.attributes["level"].as_int() == 2


def test_codes_are_int32_words() -> None:
    model = to_plugin_ops(graphs.standard_pair((1, 17, 8, 8), False)).model
    code = next(iter(model.graph)).outputs[1]
    assert code.dtype == graphs.ir.DataType.INT32
