"""The TensorRT adapter: exported symbols, callbacks, engines from the TensorRT-RTX builder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import helper as h
from onnx import numpy_helper

from segnet_deploy.errors import EngineError
from segnet_deploy.passes import contract
from segnet_deploy.quant.calibration import calibrate
from segnet_deploy.quant.insert_qdq import insert_qdq
from segnet_deploy.runtimes.model_file import save_model
from segnet_deploy.runtimes.tensorrt.plan import Plan
from segnet_deploy.tensorrt_build import BuildOptions, builder
from segnet_deploy.tensorrt_build.log import wrong_precision
from segnet_export import SegNet, SegNetConfig
from segnet_export.exporter import ExportOptions, finish
from segnet_export.torch_graph import to_onnx

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
    save_model(model, path)
    return path


def test_adapter_exports_two_symbols(plugin: Path) -> None:
    done = subprocess.run(
        ["nm", "-D", "--defined-only", str(plugin)], capture_output=True, text=True, check=True
    )
    symbols = {line.split()[-1] for line in done.stdout.splitlines()}
    assert symbols == {"getCreators", "setLoggerFinder"}


def test_callbacks_follow_the_contract(plugin: Path, tmp_path: Path) -> None:
    program = tmp_path / "drive"
    root = os.environ["TensorRT_ROOT"]  # noqa: SIM112 - as CMake spells it
    command = ["nvcc", "-std=c++17", "-isystem", f"{root}/include"]  # finds CUDA's headers
    source = str(Path(__file__).with_name("drive_tensorrt_adapter.cpp"))
    subprocess.run([*command, source, "-o", str(program), "-ldl"], check=True)
    done = subprocess.run([program, plugin], capture_output=True, text=True, check=True)
    results: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, _, rest = line.partition(" ")
        results.setdefault(name, []).append(rest)
    names = f"{contract.PLUGIN_VERSION} {contract.PLUGIN_NAMESPACE} height width level"
    assert results["creator"] == [
        f"SegNetMaxPool {names} ceil_mode layout",
        f"SegNetMaxUnpool {names} ceil_mode layout",
    ]
    assert results["pool-ceil"] == ["2 17 23 31", "2 2 23 31"]
    assert results["pool-floor"] == ["2 17 22 30", "2 2 22 30"]
    assert results["pool-3d"] == results["unpool-without-size"] == ["refused"]
    assert results["unpool-by-attributes"] == ["2 17 45 61"]
    assert results["unpool-by-image"] == ["2 17 45 61"]
    # type:format, 0 fp32, 1 fp16, 7 bf16, 2 int8; 0 LINEAR, 8 HWC, 3 HWC8
    supported = results["pool-any-layout"][0].split()
    assert {t.split(":")[0] for t in supported} == {"0", "1", "2", "7"}
    assert len(supported) == 10  # LINEAR and HWC for all four, HWC8 for the two of 16 bits
    assert len({t.split(":")[1] for t in results["pool-channels-last"][0].split()}) == 1
    fields = ["height=45 width=61 level=0 ceil_mode=1 layout=0"]
    for name in ("fields", "clone", "attached", "deserialised"):
        assert results[name] == fields
    assert results["float-field"] == ["refused"]
    assert results["types"] == ["1 3"]  # fp16, int32
    assert results["workspace"] == ["0"]


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Name, answer and expected answer of each call that drive_tensorrt_errors.cpp makes."""
    folder = tmp_path_factory.mktemp("errors")
    root = os.environ["TensorRT_ROOT"]  # noqa: SIM112 - as CMake spells it
    sources = [Path(__file__).with_name("drive_tensorrt_errors.cpp")]
    sources += [ROOT / "plugins/tensorrt/plugin.cpp", ROOT / "plugins/tensorrt/creators.cpp"]
    command = ["nvcc", "-std=c++17", "-isystem", f"{root}/include"]  # finds CUDA's headers
    command += [f"-I{ROOT / 'plugins/include'}", f"-I{ROOT / 'plugins/cuda'}", *map(str, sources)]
    command += [*sanitizers(folder), "-o", str(folder / "errors")]
    subprocess.run(command, check=True)
    done = subprocess.run([folder / "errors"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


def sanitizers(folder: Path) -> list[str]:
    """Return nvcc's options for the host compiler's sanitizers, none if it has none."""
    flags = ("-fsanitize=address", "-fsanitize=undefined", "-fno-sanitize-recover=undefined")
    options = [f"-Xcompiler={flag}" for flag in flags]
    source = folder / "empty.cpp"
    source.write_text("int main() { return 0; }\n")
    command = ["nvcc", str(source), *options, "-o", str(folder / "empty")]
    done = subprocess.run(command, capture_output=True, check=False)
    return options if done.returncode == 0 else []


CALLBACKS = ("create", "shapes", "types", "formats", "configure", "shape-change", "enqueue")


@pytest.mark.parametrize("callback", [*CALLBACKS, "image-shapes", "launch", "memory", "capability"])
def test_wrong_arguments_are_refused(errors: list[list[str]], callback: str) -> None:
    rows = [row for row in errors if row[0].partition("-")[2].startswith(callback)]
    assert any(row[2] == "refused" for row in rows)
    assert [row for row in rows if row[1] != row[2]] == []


@pytest.mark.parametrize("axis", ["no-batch", "no-channels", "no-height", "no-width"])
@pytest.mark.parametrize("op", ["pool", "unpool"])
def test_empty_tensors_succeed_without_a_launch(
    errors: list[list[str]], op: str, axis: str
) -> None:
    answers = {name: answer for name, answer, _ in errors}
    for callback in ("configure", "shape-change", "enqueue", "enqueue-at-null"):
        assert answers[f"{op}-{callback}-{axis}"] == "accepted"
    assert answers[f"{op}-launch-{axis}"] == "refused"


@pytest.mark.needs("tensorrt-lean")
def test_library_loads_in_tensorrt_lean(plugin: Path) -> None:
    """A smoke test without a builder: TensorRT's plugin registry loads the library."""
    program = (
        "import ctypes, sys, pathlib, tensorrt_lean_libs\n"
        "folder = pathlib.Path(tensorrt_lean_libs.__path__[0])\n"
        "for path in sorted(folder.glob('libnvinfer_lean.so*')):\n"
        "    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)\n"
        "import tensorrt_lean_bindings as trt\n"
        "registry = trt.get_plugin_registry()\n"
        "assert registry.load_library(sys.argv[1]) is not None\n"
        "for name in ('SegNetMaxPool', 'SegNetMaxUnpool'):\n"
        "    creator = registry.get_creator(name, '1', 'segnet')\n"
        "    print(creator.name, creator.plugin_version, trt.__version__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(plugin)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "SegNetMaxPool",
        "SegNetMaxUnpool",
    ]


@pytest.mark.needs("tensorrt-rtx")
def test_library_is_loaded_once_for_a_process(plugin: Path, tmp_path: Path) -> None:
    """A second load, or one of a copy of the library, is no error, and none stays in the log."""
    copy = tmp_path / "libsegnet_again.so"
    copy.write_bytes(plugin.read_bytes())
    program = (
        "import sys\n"
        "from segnet_deploy.runtimes.tensorrt.library import load\n"
        "from segnet_deploy.runtimes.tensorrt.logger import make_logger\n"
        "from segnet_deploy.runtimes.tensorrt.plugin_library import load_plugin\n"
        "trt = load('tensorrt-rtx').trt\n"
        "log = make_logger(trt)\n"
        "owners = [trt.Builder(log), trt.Builder(log), trt.Runtime(log)]\n"
        "for path in sys.argv[1:]:\n"
        "    for owner in owners:\n"
        "        load_plugin(owner.get_plugin_registry(), path, log)\n"
        "print([line for line in log.errors if 'Plugin' in line or 'plugin' in line])\n"
    )
    command = [sys.executable, "-c", program, str(plugin), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.needs("tensorrt-rtx")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic-size"])
def test_one_pool_with_two_unpoolings_and_three_outputs_is_built(
    plugin: Path, dynamic: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)

    def conv(name: str, source: str, target: str) -> Any:
        return h.make_node("Conv", [source, name], [target], pads=[1, 1, 1, 1])

    weights = [
        numpy_helper.from_array(rng.standard_normal((16, count, 3, 3)).astype(np.float32), name)
        for name, count in (("first", 3), ("left", 16), ("right", 16), ("last", 16))
    ]
    nodes = [
        conv("first", "x", "a"),
        h.make_node("Shape", ["a"], ["size"]),
        h.make_node(
            "MaxPool", ["a"], ["p", "index"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
        ),
    ]
    for side in ("left", "right"):
        inputs = [f"{side}_values", "index", "size"]
        nodes.append(conv(side, "p", f"{side}_values"))
        nodes.append(
            h.make_node("MaxUnpool", inputs, [f"{side}_plane"], kernel_shape=[2, 2], strides=[2, 2])
        )
    nodes += [conv("last", "left_plane", "y"), conv("last", "right_plane", "z")]
    nodes.append(h.make_node("Sigmoid", ["right_plane"], ["v"]))
    size: list[Any] = ["h", "w"] if dynamic else [45, 60]
    outputs = {name: [1, 16, *size] for name in ("y", "z", "v")}
    save_model(graphs.model(nodes, {"x": [1, 3, *size]}, outputs, weights), tmp_path / "m.onnx")
    options = BuildOptions(
        precision="fp16",
        targets=("sm86",),
        plugin=plugin,
        sizes=((45, 61), (90, 120), (181, 241)) if dynamic else None,
    )
    built = builder.build(tmp_path / "m.onnx", tmp_path / "m.trt", options)
    plugins = [layer for layer in built.answer.layers if layer["type"] == "custom_layer"]
    assert len(plugins) == 3
    assert [port["name"] for port in built.answer.ports] == ["x", "y", "z", "v"]


@pytest.mark.needs("tensorrt-rtx")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_plugin_form_is_built(plugin: Path, segnet: Path, precision: str, tmp_path: Path) -> None:
    built = builder.build(
        segnet,
        tmp_path / "m.trt",
        BuildOptions(precision=precision, targets=("sm86",), plugin=plugin),
    )
    assert built.form == "plugin"
    sidecar = json.loads((tmp_path / "m.trt.json").read_text())
    assert sidecar["plugin"]["namespace"] == "segnet"
    assert wrong_precision(sidecar["layers"], precision) == []
    plugins = [layer for layer in sidecar["layers"] if layer["type"] == "custom_layer"]
    assert len(plugins) == 10
    assert all(precision in layer["inputs"] for layer in plugins)
    if precision != "bf16":  # for which this builder supports no channels-last plugins
        conversions = [layer for layer in sidecar["layers"] if "Tran" in layer["name"]]
        assert len(conversions) <= 2, conversions


@pytest.mark.needs("tensorrt-rtx")
def test_int8_plugins_read_and_write_int8(plugin: Path, segnet: Path, tmp_path: Path) -> None:
    images = [np.random.default_rng(0).standard_normal((1, 3, 45, 60)).astype(np.float32)]
    model = insert_qdq(ir.load(segnet), calibrate(ir.load(segnet), images, "minmax")).model
    save_model(model, tmp_path / "int8.onnx")
    targets = ("sm86", "sm89")
    built = builder.build(
        tmp_path / "int8.onnx", tmp_path / "m.trt", BuildOptions(targets=targets, plugin=plugin)
    )
    assert (built.form, built.precision) == ("plugin", "int8")
    plugins = [layer for layer in built.answer.layers if layer["type"] == "custom_layer"]
    assert len(plugins) == 10
    assert all(layer["inputs"][0] == "int8" for layer in plugins)


@pytest.mark.needs("tensorrt-rtx")
def test_dynamic_batch_in_plugin_form(plugin: Path, tmp_path: Path) -> None:
    net = SegNet(SegNetConfig.standard(5, width=8)).eval()
    model, _ = to_onnx(net, torch.zeros(2, 3, 45, 60), dynamic="batch")
    save_model(model, tmp_path / "m.onnx")
    built = builder.build(
        tmp_path / "m.onnx",
        tmp_path / "m.trt",
        BuildOptions(targets=("sm86",), plugin=plugin, batch=(1, 2, 4)),
    )
    assert built.form == "plugin"
    assert built.answer.activation_bytes


@pytest.mark.needs("tensorrt-rtx")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_dynamic_sizes_in_plugin_form(plugin: Path, precision: str, tmp_path: Path) -> None:
    net = SegNet(SegNetConfig.standard(5, width=8)).eval()
    model, _ = to_onnx(net, torch.zeros(1, 3, 45, 60), dynamic="size")
    save_model(model, tmp_path / "m.onnx")
    built = builder.build(
        tmp_path / "m.onnx",
        tmp_path / "m.trt",
        BuildOptions(
            precision=precision,
            targets=("sm86", "sm89"),
            plugin=plugin,
            sizes=((45, 61), (90, 120), (181, 241)),  # the plugin supports odd sizes
            embed_plugin=True,
        ),
    )
    sidecar = json.loads((tmp_path / "m.trt.json").read_text())
    assert sidecar["plugin"]["embedded"] is True
    assert (tmp_path / "m.trt").stat().st_size > plugin.stat().st_size  # the library is inside
    assert built.answer.activation_bytes < 40e6
    read = Plan.read(tmp_path / "m.trt")
    assert read.plugin(None) is None
    assert "--size-range 45x61 90x120 181x241" in read.rebuild_command()


@pytest.mark.needs("tensorrt-rtx")
@pytest.mark.parametrize("dynamic", [None, "size"], ids=["static", "dynamic-size"])
def test_file_that_reads_frames_is_built_in_plugin_form(
    plugin: Path, dynamic: str | None, tmp_path: Path
) -> None:
    """With dynamic sizes the unpoolings read the size of the image, which is a uint8 frame."""
    net = SegNet(SegNetConfig.standard(5, width=8)).eval()
    model, _ = to_onnx(net, torch.zeros(1, 3, 45, 60), dynamic=dynamic)
    finish(model, 5, ExportOptions(mean=(1, 2, 3), io="frame", dynamic=dynamic))
    save_model(model, tmp_path / "m.onnx")
    sizes = ((45, 61), (90, 120), (181, 241)) if dynamic else None
    options = BuildOptions(precision="fp16", targets=("sm86",), plugin=plugin, sizes=sizes)
    built = builder.build(tmp_path / "m.onnx", tmp_path / "m.trt", options)
    assert built.form == "plugin"
    assert [port["dtype"] for port in built.answer.ports] == ["uint8", "uint8"]


@pytest.mark.needs("tensorrt-rtx")
def test_full_segnet_needs_the_documented_memory(plugin: Path, tmp_path: Path) -> None:
    """360x480 in plugin form: 100 MB of activations in fp32, 54 MB in fp16, no transpositions."""
    torch.manual_seed(0)
    net = SegNet(SegNetConfig.standard(11)).eval()
    model, _ = to_onnx(net, torch.zeros(1, 3, 360, 480))
    save_model(model, tmp_path / "m.onnx")
    for precision, maximum in (("fp32", 100e6), ("fp16", 54e6)):
        built = builder.build(
            tmp_path / "m.onnx",
            tmp_path / "m.trt",
            # a plan for several targets needs the memory of the largest
            BuildOptions(precision=precision, targets=("sm86",), plugin=plugin),
        )
        assert built.answer.activation_bytes is not None
        assert built.answer.activation_bytes <= maximum
        # 26 convolutions, 10 plugins, input and output; layout conversions would be more
        assert len(built.answer.layers) <= 40


@pytest.mark.needs("tensorrt-rtx")
def test_file_that_is_not_a_plugin_library_is_an_error(segnet: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.so"
    wrong.write_bytes(b"not a library")
    with pytest.raises(EngineError):
        builder.build(segnet, tmp_path / "m.trt", BuildOptions(targets=("sm86",), plugin=wrong))
    assert not (tmp_path / "m.trt").exists()
    assert graphs.ir.load(segnet) is not None
