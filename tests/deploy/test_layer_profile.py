"""Time per layer in each runtime, and the work of a network under the roofline."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from segnet_deploy import runtimes
from segnet_deploy.bench.graph_cost import dense_work
from segnet_deploy.bench.layer_profile import format_layers, profile_layers, sum_by_operator
from segnet_deploy.bench.roofline import measure_ceilings
from segnet_deploy.runtimes.onnxruntime import OrtEngine
from segnet_export.models import create
from segnet_export.torch_graph import to_onnx


@pytest.mark.parametrize(
    "runtime", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.needs("openvino"))]
)
def test_layers_add_up_to_the_network(small_model: Path, runtime: str) -> None:
    found = profile_layers(small_model, runtime, threads=1, runs=2)
    assert found
    assert len({layer["name"] for layer in found}) == len(found)
    assert all(layer["seconds"] >= 0 for layer in found)
    assert sum(layer["op"] in ("Conv", "Convolution", "FusedConv") for layer in found) == 26


def test_layers_are_none_if_the_runtime_does_not_report_them(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(OrtEngine, "profile")
    assert profile_layers(small_model, "onnxruntime") is None


def test_engine_runs_as_before_after_profiling(small_model: Path) -> None:
    for runtime in ("onnxruntime", "openvino"):
        engine = runtimes.open(small_model, runtime, 1)
        x = np.random.default_rng(0).normal(size=(1, 3, 45, 61)).astype(np.float32)
        before = engine.run(x).copy()
        engine.profile(x, 1)
        assert np.array_equal(engine.run(x), before)
        engine.close()


def test_work_counts_every_multiplication(tmp_path: Path) -> None:
    module, x = create("fcn-8s", 5, width=2), torch.zeros(1, 3, 45, 61)
    ir.save(to_onnx(module, x)[0], tmp_path / "fcn.onnx")
    found = dense_work(tmp_path / "fcn.onnx")
    assert found
    assert found.macs == _macs(module, x)


def _macs(module: Any, x: Any) -> int:
    """Count by hooks: outputs times kernel, or inputs times kernel for deconvolutions."""
    total = 0

    def count(layer: Any, inputs: Any, output: Any) -> None:
        nonlocal total
        places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += places.numel() * layer.weight[0].numel()

    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(count)
    with torch.no_grad():
        module(x)
    return total


def test_ceilings_are_measured_in_a_separate_process() -> None:
    found = measure_ceilings(1)
    assert found["macs_per_second"] > 1e8
    assert found["bytes_per_second"] > 1e8


def test_layers_are_summed_by_operator_and_printed() -> None:
    found = [
        {"name": "a", "op": "Conv", "seconds": 0.002},
        {"name": "b", "op": "Pool", "seconds": 0.005},
        {"name": "c" * 90, "op": "Conv", "seconds": 0.004},
    ]
    assert sum_by_operator(found) == [("Conv", 2, pytest.approx(0.006)), ("Pool", 1, 0.005)]
    table = format_layers(found).splitlines()
    assert table[1].split() == ["Conv", "2", "6.00", "54.5%"]
    assert max(map(len, table)) <= 72


@pytest.mark.needs("tensorrt-rtx")
def test_tensorrt_takes_our_profiler() -> None:
    from segnet_deploy.runtimes.tensorrt.layer_profiler import layer_times
    from segnet_deploy.runtimes.tensorrt.library import load

    # The base class is TensorRT's; its own context needs a GPU.
    context: Any = SimpleNamespace(profiler=None)
    times = iter((1.0, 2.0, 3.0, 20.0, 5.0, 60.0))

    def execute() -> None:
        for name in ("conv", "pool"):
            context.profiler.report_layer_time(name, next(times))

    found = layer_times(load("tensorrt-rtx").trt, context, execute, runs=3)
    assert [layer["name"] for layer in found] == ["conv", "pool"]
    assert [layer["seconds"] for layer in found] == pytest.approx([0.003, 0.020])
    assert context.profiler is None
