"""The TensorRT adapter: what it exports, and plugin-form engines by the real RTX builder."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import graphs
import pytest
import torch

from segnet_deploy.errors import EngineError
from segnet_deploy.trt import building
from segnet_deploy.trt.layers import wrong_precision
from segnet_export import SegNet, SegNetConfig
from segnet_export.exporting import save
from segnet_export.tracing import to_onnx

pytestmark = pytest.mark.needs("nvcc", "tensorrt-headers")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    root = os.environ["TensorRT_ROOT"]  # noqa: SIM112 - as CMake spells it
    options = [f"-DTensorRT_ROOT={root}", "-DCMAKE_CUDA_ARCHITECTURES=86"]
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release", *options],
        ["cmake", "--build", str(folder), "--target", "segnet_tensorrt"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stderr
    return next(folder.rglob("libsegnet_tensorrt.so"))


@pytest.fixture(scope="module")
def segnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("segnet") / "segnet.onnx"
    model, _ = to_onnx(SegNet(SegNetConfig.standard(5, width=8)).eval(), torch.zeros(1, 3, 45, 60))
    save(model, path)
    return path


def test_adapter_exports_two_symbols(plugin: Path) -> None:
    done = subprocess.run(
        ["nm", "-D", "--defined-only", str(plugin)], capture_output=True, text=True, check=True
    )
    symbols = {line.split()[-1] for line in done.stdout.splitlines()}
    assert symbols == {"getCreators", "setLoggerFinder"}


@pytest.mark.needs("tensorrt-rtx")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_plugin_form_is_built(plugin: Path, segnet: Path, precision: str, tmp_path: Path) -> None:
    built = building.build(
        segnet, tmp_path / "m.trt", precision=precision, targets=("sm86",), plugin=plugin
    )
    assert built.form == "plugin"
    sidecar = json.loads((tmp_path / "m.trt.json").read_text())
    assert sidecar["plugin"]["namespace"] == "segnet"
    assert wrong_precision(sidecar["layers"], precision) == []
    plugins = [layer for layer in sidecar["layers"] if layer["type"] == "custom_layer"]
    assert len(plugins) == 10
    assert all(precision in layer["inputs"] for layer in plugins)
    if precision != "bf16":  # which this builder has no channels-last plugins for
        conversions = [layer for layer in sidecar["layers"] if "Tran" in layer["name"]]
        assert len(conversions) <= 2, conversions


@pytest.mark.needs("tensorrt-rtx")
def test_dynamic_batch_in_plugin_form(plugin: Path, tmp_path: Path) -> None:
    net = SegNet(SegNetConfig.standard(5, width=8)).eval()
    model, _ = to_onnx(net, torch.zeros(2, 3, 45, 60), dynamic="batch")
    save(model, tmp_path / "m.onnx")
    built = building.build(
        tmp_path / "m.onnx", tmp_path / "m.trt", targets=("sm86",), plugin=plugin, batch=(1, 2, 4)
    )
    assert built.form == "plugin"
    assert built.answer.activation_bytes


@pytest.mark.needs("tensorrt-rtx")
def test_library_that_is_no_plugin_is_an_error(segnet: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.so"
    wrong.write_bytes(b"no library")
    with pytest.raises(EngineError):
        building.build(segnet, tmp_path / "m.trt", targets=("sm86",), plugin=wrong)
    assert not (tmp_path / "m.trt").exists()
    assert graphs.ir.load(segnet) is not None
