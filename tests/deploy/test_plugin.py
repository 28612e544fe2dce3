"""The plugin form: names and attributes of the contract, static and dynamic."""

from __future__ import annotations

import graphs
import pytest

from segnet_deploy.passes import contract
from segnet_deploy.passes.plugin import to_plugin


def test_contract_names_are_frozen() -> None:
    """Changing any of these breaks every file and library in the field."""
    assert contract.DOMAIN == "segnet"
    assert (contract.POOL, contract.UNPOOL) == ("SegNetMaxPool", "SegNetMaxUnpool")
    assert contract.PLUGIN_VERSION == "1"


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_static_pair_gets_height_and_width(ceil_mode: bool) -> None:
    model = to_plugin(graphs.standard_pair((1, 3, 45, 60), ceil_mode)).model
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
    model = to_plugin(graphs.standard_pair((1, 3, 45, 60), True, dynamic=True)).model
    unpool = next(node for node in model.graph if node.op_type == contract.UNPOOL)
    assert unpool.inputs[2] is model.graph.inputs[0]
    assert unpool.attributes["level"].as_int() == 0
    assert "height" not in unpool.attributes


def test_codes_are_int32_words() -> None:
    model = to_plugin(graphs.standard_pair((1, 17, 8, 8), False)).model
    code = next(iter(model.graph)).outputs[1]
    assert code.dtype == graphs.ir.DataType.INT32
