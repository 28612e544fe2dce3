"""segnet-build with the real TensorRT-RTX builder, which needs no GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import graphs
import pytest
import torch
from onnx import helper as h

from segnet_deploy.cli import build
from segnet_deploy.errors import EngineError, UsageError
from segnet_deploy.files import sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.model_file import save_model
from segnet_deploy.runtimes.tensorrt.library import choose, load
from segnet_deploy.runtimes.tensorrt.logger import first_error, make_logger
from segnet_deploy.runtimes.tensorrt.shape_ranges import read_ranges
from segnet_deploy.tensorrt_build import BuildOptions, build_process, builder
from segnet_deploy.tensorrt_build.log import layers, totals, wrong_precision
from segnet_deploy.tensorrt_build.profiles import profile
from segnet_deploy.tensorrt_build.request import BuildAnswer, BuildRequest
from segnet_export import SegNet, SegNetConfig
from segnet_export.checkpoints import load_checkpoint
from segnet_export.exporter import ExportOptions, finish
from segnet_export.torch_graph import to_onnx

ROOT = Path(__file__).parents[2]
rtx = pytest.mark.needs("tensorrt-rtx")


@pytest.fixture(scope="module", params=[None, "batch"], ids=["static", "dynamic-batch"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("build") / "segnet.onnx"
    net = SegNet(SegNetConfig.standard(5, width=8)).eval()
    model, _ = to_onnx(net, torch.zeros(1, 3, 45, 60), dynamic=request.param)
    finish(model, 5, ExportOptions(mean=(1, 2, 3), dynamic=request.param))
    save_model(model, path)
    return path


@rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_engine_is_built_in_the_precision_asked_for(
    exported: Path, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "segnet.trt"
    arguments = [str(exported), "-o", str(plan), "--target", "sm86,sm89", "--precision", precision]
    assert build.main(arguments) == 0
    assert "activations" in capsys.readouterr().out
    sidecar = json.loads((tmp_path / "segnet.trt.json").read_text())
    assert sidecar["plan_sha256"] == sha256(plan)
    assert sidecar["onnx_sha256"] == sha256(exported)
    assert sidecar["targets"] == ["sm86", "sm89"]
    assert sidecar["activation_bytes"] > 0
    assert sidecar["weights_bytes"] > 0
    assert wrong_precision(sidecar["layers"], precision) == []
    assert Metadata.from_props(sidecar["metadata"]).mean == (1, 2, 3)
    assert [port["input"] for port in sidecar["ports"]] == [True, False]
    assert {p.name for p in tmp_path.iterdir()} == {"segnet.trt", "segnet.trt.json"}


@rtx
def test_engine_without_targets_is_portable(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the same on every machine, with a GPU or without; its memory is that of its maximum."""
    arguments = [str(exported), "-o", str(tmp_path / "m.trt"), "--form", "lowered"]
    dynamic = inspect_batch(exported)
    assert build.main([*arguments, *(["--batch-range", "1", "2", "4"] if dynamic else [])]) == 0
    line = capsys.readouterr().out
    assert "GPUs from sm80 on" in line
    assert (" MB at its largest input 4x3x45x60," in line) == dynamic
    assert json.loads((tmp_path / "m.trt.json").read_text())["targets"] == []


def inspect_batch(path: Path) -> bool:
    """Return whether the batch of a file is dynamic."""
    shape = graphs.ir.load(path).graph.inputs[0].shape
    return shape is not None and not isinstance(shape[0], int)


@rtx
def test_file_that_reads_frames_is_built(tmp_path: Path) -> None:
    net = SegNet(SegNetConfig.standard(5, width=8)).eval()
    model, _ = to_onnx(net, torch.zeros(1, 3, 45, 60))
    finish(model, 5, ExportOptions(mean=(1, 2, 3), io="frame", channel_order="rgb"))
    save_model(model, tmp_path / "m.onnx")
    options = BuildOptions(precision="fp16", targets=("sm86",), form="lowered")
    built = builder.build(tmp_path / "m.onnx", tmp_path / "m.trt", options)
    assert [(p["shape"], p["dtype"]) for p in built.answer.ports] == [
        ([1, 45, 60, 3], "uint8"),
        ([1, 45, 60], "uint8"),
    ]


@rtx
def test_half_precision_needs_less_memory(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    net = SegNet(SegNetConfig.standard(5, width=16)).eval()
    model, _ = to_onnx(net, torch.zeros(1, 3, 96, 128))
    save_model(model, path)
    sizes = {}
    for precision in ("fp32", "fp16"):
        built = builder.build(
            path, tmp_path / "m.trt", BuildOptions(precision=precision, targets=("sm86",))
        )
        sizes[precision] = built.answer.activation_bytes
    assert sizes["fp16"] is not None
    assert sizes["fp32"] is not None
    assert sizes["fp16"] < sizes["fp32"]


@pytest.fixture(scope="module", params=["demo", "full"])
def promised(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, float]:
    """Return a network's ONNX file and the most activation bytes that its fp32 plan may need."""
    torch.manual_seed(0)
    if request.param == "demo":
        net = load_checkpoint(ROOT / "benchmarks/demo/segnet_demo.pt").model
        size, most = (180, 240), 30e6
    else:
        net, size, most = SegNet(SegNetConfig.standard(11)).eval(), (360, 480), 106e6
    path = tmp_path_factory.mktemp("promised") / "m.onnx"
    model, _ = to_onnx(net, torch.zeros(1, 3, *size))
    save_model(model, path)
    return path, most


@rtx
@pytest.mark.parametrize("target", ["sm86", "sm89"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_demo_and_full_segnet_are_built_in_lowered_form(
    precision: str, target: str, promised: tuple[Path, float], tmp_path: Path
) -> None:
    path, most = promised
    plan = tmp_path / "m.trt"
    built = builder.build(
        path, plan, BuildOptions(precision=precision, targets=(target,), form="lowered")
    )
    assert wrong_precision(built.answer.layers, precision) == []
    assert built.answer.activation_bytes is not None
    assert built.answer.activation_bytes < most * (0.6 if precision == "fp16" else 1)


@rtx
def test_timing_cache_is_kept_by_version_and_device(exported: Path, tmp_path: Path) -> None:
    plan, caches = tmp_path / "m.trt", tmp_path / "caches"
    for target in ("sm86", "sm89"):
        for _ in range(2):  # the second build reads the cache of the first
            builder.build(
                exported, plan, BuildOptions(targets=(target,), form="lowered", timing_cache=caches)
            )
    names = sorted(path.name for path in caches.iterdir())
    version = json.loads((tmp_path / "m.trt.json").read_text())["version"]
    assert names == [f"tensorrt-rtx-{version}-{sm}.timing" for sm in ("sm86", "sm89")]


@rtx
@pytest.mark.parametrize("wanted", [False, True])
def test_version_compatible_engines_set_the_builders_flag(wanted: bool) -> None:
    """The flag is read back from a real builder's configuration; its engines need TensorRT."""
    library = load("tensorrt-rtx")
    log = make_logger(library.trt)
    request = BuildRequest("a.onnx", "a.trt", "tensorrt", version_compatible=wanted)
    config = build_process._config(library, library.trt.Builder(log), request, log)
    assert config.get_flag(library.trt.BuilderFlag.VERSION_COMPATIBLE) is wanted
    assert not config.get_flag(library.trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)


def test_profile_covers_what_is_dynamic() -> None:
    sizes = ((45, 61), (90, 120), (181, 241))
    fixed = (1, 3, 45, 61)
    assert profile("x", fixed) == {}
    assert profile("x", (None, 3, 45, 61), (1, 2, 4)) == {
        "x": ((1, 3, 45, 61), (2, 3, 45, 61), (4, 3, 45, 61))
    }
    both = profile("x", (None, 3, None, None), (1, 1, 2), sizes)
    assert both == {"x": ((1, 3, 45, 61), (1, 3, 90, 120), (2, 3, 181, 241))}
    assert read_ranges(both, "tensor") == ((1, 1, 2), sizes)
    frames = profile("x", (1, None, None, 3), None, sizes)
    assert frames == {"x": ((1, 45, 61, 3), (1, 90, 120, 3), (1, 181, 241, 3))}
    assert read_ranges(frames, "frame") == (None, sizes)
    for shape, batch, given in (
        (fixed, (1, 1, 1), None),
        (fixed, None, sizes),
        ((1, 3, None, None), None, None),
        ((1, 3, None, None), None, ((9, 9), (8, 8), (10, 10))),
        ((None, 3, 8, 8), (2, 1, 3), None),
    ):
        with pytest.raises(UsageError):
            profile("x", shape, batch, given)


def _bad(tmp_path: Path) -> dict[str, tuple[list[str], int, str]]:
    good, odd, dynamic = (tmp_path / f"{n}.onnx" for n in ("good", "odd", "dynamic"))
    conv = h.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    import numpy as np
    from onnx import numpy_helper

    weight = numpy_helper.from_array(np.ones((3, 3, 3, 3), np.float32), "w")
    shape = [1, 3, 8, 8]
    graphs.ir.save(graphs.model([conv], {"x": shape}, {"y": shape}, [weight]), good)
    det = h.make_node("Det", ["x"], ["y"], name="culprit")
    graphs.ir.save(graphs.model([det], {"x": shape}, {"y": [1, 3]}), odd)
    open_shape = [1, 3, "h", "w"]
    graphs.ir.save(graphs.model([conv], {"x": open_shape}, {"y": open_shape}, [weight]), dynamic)
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x0a\x12")
    return {
        "missing": (["missing.onnx"], 1, "missing.onnx"),
        "cut": ([str(tmp_path / "cut.onnx")], 1, "cut.onnx"),
        "refused": ([str(odd), "--target", "sm86"], 1, "culprit"),
        "target": ([str(good), "--target", "sm13"], 1, "sm13"),
        "dynamic": ([str(dynamic), "--target", "sm86"], 2, "dynamic sizes"),
        "size": ([str(good), "--target", "sm86", "--size-range", *["8x8"] * 3], 2, "fixed size"),
        "size text": ([str(good), "--size-range", "8", "8x8", "8x8"], 2, "--size-range 8;"),
        "embed": ([str(good), "--form", "lowered", "--embed-plugin"], 2, "has no plugin"),
        "batch": ([str(good), "--target", "sm86", "--batch-range", *"123"], 2, "fixed batch"),
        "workspace": ([str(good), "--workspace", "0"], 2, "--workspace 0"),
        "tensorrt": ([str(good), "--builder", "tensorrt", "--target", "sm86"], 1, "--target"),
        "versions": ([str(good), "--version-compatible", "--target", "sm86"], 2, "lean runtime"),
        "bf16": ([str(good), "--target", "sm75", "--precision", "bf16"], 2, "sm75 has no bf16"),
    }


NAMES = ["missing", "cut", "refused", "target", "dynamic", "batch", "workspace", "tensorrt"]
NAMES += ["size", "size text", "embed", "bf16", "versions"]


@rtx
@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_one_line_and_leaves_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, status, words = _bad(tmp_path)[name]
    folder = tmp_path / "out"
    folder.mkdir()
    assert build.main([*arguments, "-o", str(folder / "m.trt")]) == status
    lines = [x for x in capsys.readouterr().err.splitlines() if x.strip().startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert list(folder.iterdir()) == []


def test_crash_of_the_builder_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real child process that crashes: it aborts before it can answer."""
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "terminate called" >&2\nkill -ABRT $$\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    request = BuildRequest("a.onnx", "a.trt", "tensorrt-rtx")
    with pytest.raises(EngineError, match=r"ended by signal 6: terminate called"):
        builder.run_builder(request, tmp_path)


LISTING = [
    "Name: conv_a, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [1,3], Datatype: Half, "
    "Format: (NHWC) }], Constants: [ { Name: w, Datatype: Float }], Outputs: [ { Name: y, "
    "Datatype: Half }]\n Name: other, LayerType: kgen, Inputs: [ { Name: y, Datatype: Half }], "
    "Constants: [], Outputs: [ { Name: z, Datatype: Float }]",
    "Total Activation Memory: 1024 bytes",
]


def test_listing_is_read_back() -> None:
    found = layers(LISTING)
    assert [layer["name"] for layer in found] == ["conv_a", "other"]
    assert found[0]["inputs"] == ["fp16"]
    assert found[1]["outputs"] == ["fp32"]
    assert totals(LISTING) == {"activation_bytes": 1024, "weights_bytes": None}
    assert wrong_precision(found, "fp16") == []
    assert wrong_precision(found, "fp32") == ["conv_a"]


def test_other_precision_than_asked_for_is_an_error() -> None:
    answer = BuildAnswer(layers=layers(LISTING))
    builder.check_precision(answer, "fp16")
    with pytest.raises(EngineError, match=r"1 of 1 convolutions were not built in fp32"):
        builder.check_precision(answer, "fp32")
    with pytest.raises(EngineError, match="listed no convolution"):
        builder.check_precision(BuildAnswer(), "fp32")


def test_first_error_is_the_real_one() -> None:
    errors = ["catchCudaError: 35", "node 3 is not supported", "parsing failed"]
    assert first_error(errors) == "node 3 is not supported"
    assert first_error([]) == "no reason was given"


def test_targets_need_the_cross_builder() -> None:
    from segnet_deploy.errors import InputError

    with pytest.raises(InputError, match="--target"):
        choose("tensorrt", cross=True)
    with pytest.raises(InputError, match="cudnn"):
        choose("cudnn", cross=False)
