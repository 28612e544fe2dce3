"""ncnn: the translation and the runtime, against ONNX Runtime and PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import graphs
import numpy as np
import onnx
import pytest
import torch
from ncnn_models import run, weight
from onnx import helper as h
from torch.nn import functional as F

from segnet_deploy import runtimes
from segnet_deploy.errors import EngineError
from segnet_deploy.native import max_unpool

pytestmark = pytest.mark.needs("ncnn")


@pytest.mark.parametrize("ceil_mode", [False, True], ids=["floor", "ceil"])
@pytest.mark.parametrize(
    ("shape", "dynamic"),
    [*((shape, False) for shape in (*cases.SHAPES, (2, 2, 1, 1))), ((2, 3, 5, 7), True)],
    ids=str,
)
def test_pair_equals_pytorch_on_the_table(
    shape: tuple[int, int, int, int], ceil_mode: bool, dynamic: bool, tmp_path: Path
) -> None:
    found = [c for c in cases.CASES if c.shape == shape and c.ceil_mode == ceil_mode]
    if not found:
        pytest.skip("floor pooling of 1x1 is empty")
    model = graphs.standard_pair(shape, ceil_mode, dynamic)
    for case in found:
        x = case.make()
        y, index = F.max_pool2d(torch.from_numpy(x), 2, 2, 0, 1, ceil_mode, True)
        z = F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=list(shape[2:]))
        got = run(model, x, tmp_path)
        assert np.array_equal(got["y"], y.numpy()), str(case)
        assert np.array_equal(got["z"], z.numpy()), str(case)


@pytest.mark.parametrize("channels", [3, 8, 16, 20])
@pytest.mark.parametrize("native", [True, False], ids=["native", "numpy"])
def test_pair_between_convolutions_keeps_packed_channels_in_order(
    channels: int, native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool after a convolution is packed by 8, 4 or 1; the values are the same."""
    if not native:
        monkeypatch.setattr(max_unpool, "_library", lambda: None)
    pair = graphs.ir.to_proto(graphs.standard_pair((2, channels, 9, 13), True))
    graph = pair.graph
    graph.node.insert(0, h.make_node("Conv", ["image", "w"], ["x"], name="conv"))
    graph.node.append(h.make_node("Conv", ["z", "v"], ["out"], name="after"))
    graph.input[0].CopyFrom(h.make_tensor_value_info("image", 1, [2, 5, 9, 13]))
    graph.output.append(h.make_tensor_value_info("out", 1, [2, 6, 9, 13]))
    graph.output.append(h.make_tensor_value_info("x", 1, [2, channels, 9, 13]))
    graph.initializer.extend([weight("w", channels, 5, 1, 1), weight("v", 6, channels, 1, 1)])
    image = np.random.default_rng(0).standard_normal((2, 5, 9, 13)).astype(np.float32)
    got = run(graphs.ir.from_proto(pair), image, tmp_path)
    y, index = F.max_pool2d(torch.from_numpy(got["x"]), 2, 2, 0, 1, True, True)
    z = F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=[9, 13])
    assert np.array_equal(got["y"], y.numpy())
    assert np.array_equal(got["z"], z.numpy())
    kernel = onnx.numpy_helper.to_array(graph.initializer[-1])
    assert np.allclose(got["out"], F.conv2d(z, torch.tensor(kernel)).numpy(), atol=1e-4)


def unpooled(before: list[onnx.NodeProto], after: list[onnx.NodeProto], size: list[Any]) -> Any:
    """Return x -> Conv, Relu r -> pool -> `before`, which computes p -> unpool z -> `after`."""
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        h.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        h.make_node("Relu", ["c"], ["r"]),
        h.make_node("MaxPool", ["r"], ["m", "index"], **window),
        *before,
        h.make_node("MaxUnpool", ["p", "index"], ["z"], **window),
        *after,
    ]
    kernels = {"w": (8, 3, 3, 3), "v": (8, 8, 3, 3), "u": (5, 16, 1, 1)}
    used = {name for node in nodes for name in node.input}
    constants = [weight(name, *shape) for name, shape in kernels.items() if name in used]
    return graphs.model(nodes, {"x": size}, {"y": [1, "c", "a", "b"]}, constants)


def test_skip_connection_across_the_last_pool(tmp_path: Path) -> None:
    """A layer of the second net uses a value that the first net computes."""
    before = [h.make_node("Conv", ["m", "v"], ["p"], pads=[1, 1, 1, 1])]
    after = [
        h.make_node("Concat", ["z", "r"], ["both"], axis=1),
        h.make_node("Conv", ["both", "u"], ["y"]),
    ]
    model = unpooled(before, after, [1, 3, 12, 16])
    x = np.random.default_rng(5).standard_normal((1, 3, 12, 16)).astype(np.float32)
    want = graphs.run(model, x, "onnxruntime")[0]
    assert np.allclose(run(model, x, tmp_path)["y"], want, atol=2e-5)


def test_results_outlive_the_engine_and_its_memory(tmp_path: Path) -> None:
    model = graphs.standard_pair((1, 8, 16, 24), False)
    graphs.ir.save(model, tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((1, 8, 16, 24)).astype(np.float32)
    engine = runtimes.open(tmp_path / "m.onnx", "ncnn", 1)
    found = engine.run_all(x)
    kept = {name: value.copy() for name, value in found.items()}
    engine.run_all(-x)  # reuses the memory of the first run
    engine.close()
    del engine
    assert all(np.array_equal(found[name], kept[name]) for name in kept)


def test_unpooling_of_another_size_than_the_pools_is_refused(tmp_path: Path) -> None:
    model = unpooled(
        [h.make_node("Conv", ["m", "v"], ["p"])],
        [h.make_node("Relu", ["z"], ["y"])],
        [1, 3, "h", "w"],
    )
    x = np.zeros((1, 3, 12, 16), np.float32)
    with pytest.raises(EngineError, match=r"\(8, 4, 6\).* \(8, 6, 8\)"):
        run(model, x, tmp_path)


@pytest.mark.needs("openvino")
@pytest.mark.parametrize(("side", "first"), [(3, "ncnn"), (7, "openvino")])
def test_auto_selects_ncnn_where_most_convolutions_are_3x3(
    side: int, first: str, tmp_path: Path
) -> None:
    node = h.make_node("Conv", ["x", "w"], ["y"], name="conv")
    kernel = weight("w", 5, 8, side, side)
    model = graphs.model([node], {"x": [1, 8, 9, 9]}, {"y": [1, 5, "h", "w"]}, [kernel])
    path = tmp_path / "model.onnx"
    path.write_bytes(graphs.ir.to_proto(model).SerializeToString())
    engine = runtimes.open(path)
    assert engine.name == first
    engine.close()


def test_lowered_file_is_left_to_the_next_runtime(tmp_path: Path) -> None:
    from segnet_deploy.passes.lower_unpooling import lower_unpooling

    model = lower_unpooling(graphs.standard_pair((1, 3, 5, 7), True)).model
    path = tmp_path / "lowered.onnx"
    path.write_bytes(graphs.ir.to_proto(model).SerializeToString())
    with pytest.raises(EngineError, match="ncnn does not support"):
        runtimes.open(path, "ncnn")
    assert runtimes.open(path, "auto").name != "ncnn"


def test_flat_areas_keep_pytorchs_index(tmp_path: Path) -> None:
    """Convolutions before a pool give equal values for equal neighbourhoods."""
    from segnet_deploy.accuracy.gate_inputs import GateInput
    from segnet_deploy.runtimes.model_file import save_model
    from segnet_export import SegNet, SegNetConfig
    from segnet_export.exporter import ExportOptions, finish
    from segnet_export.parity.gate import gate
    from segnet_export.torch_graph import to_onnx

    torch.manual_seed(1)
    module = SegNet(SegNetConfig.standard(5, width=16)).eval()
    x = torch.full((1, 3, 32, 48), 0.25)
    x[:, :, 16:, 20:] = -1
    model, _ = to_onnx(module, x)
    finish(model, 5, ExportOptions())
    path = tmp_path / "segnet.onnx"
    save_model(model, path)
    report = gate(path, module, [GateInput("natural", x.numpy(), x.numpy())], runtimes=["ncnn"])
    row = report.rows[0]
    assert sum(row.flips) < sum(row.windows) / 100  # F(4,3) flips a quarter of them
    assert row.agreement == 1


def test_segnet_basic_passes_the_gate_at_every_size(tmp_path: Path) -> None:
    """LRN, 7x7 convolutions, batches, odd sizes, frames."""
    from segnet_export import export
    from segnet_export.models import SegNetBasic

    torch.manual_seed(2)
    module = SegNetBasic(5, width=8).eval()
    path = tmp_path / "basic.onnx"
    example = torch.zeros(1, 3, 45, 61)
    export(module, example, path, dynamic="size", io="frame", runtimes=["ncnn"])
    assert path.is_file()
