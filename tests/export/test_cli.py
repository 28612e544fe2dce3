"""segnet-export as a user runs it, and its error messages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import families
import numpy as np
import onnx
import onnx_ir
import pytest
import torch

from segnet_deploy import runtimes
from segnet_deploy.accuracy.expose_indices import write_indexed_model
from segnet_deploy.errors import UsageError
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.scenes import draw_scene
from segnet_deploy.tensorrt_build.builder import BuildOptions, build, prepare
from segnet_export import cli
from segnet_export.torch_graph import to_onnx

SIZE = ["--imgsz", "45", "53"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    torch.save(families.build(families.CaffeNames).state_dict(), path)
    return path


def test_export_prints_the_checkpoint_and_the_gate(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "street.png"
    cv2.imwrite(str(image), draw_scene(0, 60, 80).frame)
    out = tmp_path / "segnet.onnx"
    arguments = [str(checkpoint), "-o", str(out), *SIZE, "--image", str(image), "--bgr"]
    assert cli.main([*arguments, "--mean", "1", "2", "3", "--std", "50", "50", "50"]) == 0
    captured = capsys.readouterr()
    assert "family Caffe names: 5 classes" in captured.err
    assert "ceil pooling" in captured.err
    assert "warning" not in captured.err
    assert "flips per stage" in captured.out
    assert "gate passed" in captured.out
    assert out.exists()


def test_user_module_is_imported_and_missing_normalisation_is_a_warning(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(Path(families.__file__).parent))
    out = tmp_path / "m.onnx"
    arguments = [str(checkpoint), "-o", str(out), "--module", "families:CaffeNames"]
    assert cli.main([*arguments, "--imgsz", "32", "32"]) == 0
    assert out.exists()
    assert "--mean/--std and --bgr or --rgb not given" in capsys.readouterr().err


@pytest.mark.needs("tensorrt-rtx")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engine_is_built_by_the_same_command(
    precision: str, checkpoint: Path, tmp_path: Path
) -> None:
    out, plan = tmp_path / "m.onnx", tmp_path / "m.trt"
    arguments = [str(checkpoint), "-o", str(out), *SIZE, "--engine", str(plan)]
    arguments += ["--target", "sm86", "--precision", precision, "--form", "lowered"]
    assert cli.main([*arguments, "--min-agreement", "0.9"]) == 0
    sidecar = json.loads((tmp_path / "m.trt.json").read_text())
    assert sidecar["precision"] == precision


def test_target_needs_an_engine(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(checkpoint), "--target", "sm86"]) == 2
    assert "--build-engine" in capsys.readouterr().err


@pytest.fixture(scope="module")
def standard_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("standard") / "some.onnx"
    model, _ = to_onnx(families.build(families.CaffeNames), torch.zeros(1, 3, 45, 53))
    onnx_ir.save(model, path)
    return path


@pytest.mark.parametrize("form", ["lowered", "plugin", "standard"])
def test_onnx_file_changes_form(form: str, standard_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "other.onnx"
    assert cli.main([str(standard_file), "-o", str(target), "--form", form]) == 0
    found = {node.op_type for node in onnx.load(target).graph.node}
    expected = {"standard": "MaxUnpool", "lowered": "DepthToSpace", "plugin": "SegNetMaxUnpool"}
    assert expected[form] in found


def test_normalisation_and_classes_are_written_into_an_onnx_file(
    standard_file: Path, tmp_path: Path
) -> None:
    target, names = tmp_path / "other.onnx", tmp_path / "names.txt"
    names.write_text("road\ncar\ntree\nsky\npole\n")
    arguments = [str(standard_file), "-o", str(target), "--classes", str(names), "--rgb"]
    assert cli.main([*arguments, "--mean", "1", "2", "3", "--std", "50", "60", "70"]) == 0
    metadata = Metadata.from_props({p.key: p.value for p in onnx.load(target).metadata_props})
    assert metadata.classes == ("road", "car", "tree", "sky", "pole")
    assert (metadata.mean, metadata.std) == ((1, 2, 3), (50, 60, 70))
    assert metadata.channel_order == "rgb"


@pytest.mark.parametrize(
    "option",
    [
        *(["--io", "frame"], ["--batch", "2"], ["--opset", "21"], ["--num-classes", "5"]),
        *(["--dynamic", "size"], ["--arch", "segnet"], ["--geometry", "ceil"], ["--full-range"]),
        ["--calib-frames", "5"],
    ],
)
def test_option_that_an_onnx_file_does_not_support_is_refused(
    option: list[str], standard_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "other.onnx"
    assert cli.main([str(standard_file), "-o", str(target), *option]) == 2
    assert option[0] in capsys.readouterr().err
    assert not target.exists()


def test_onnx_file_is_compared_on_the_given_images(
    standard_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "half.onnx"
    arguments = [str(standard_file), "-o", str(target), "--precision", "fp16"]
    assert cli.main([*arguments, "--image", str(tmp_path / "none.png")]) == 1
    assert "none.png" in capsys.readouterr().err
    for seed in range(2):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), draw_scene(seed, 40, 60).frame)
    assert cli.main([*arguments, "--min-agreement", "0.5", "--image", str(tmp_path)]) == 0


def test_external_weights_are_copied_into_the_file(standard_file: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "a" / "some.onnx", tmp_path / "b" / "other.onnx"
    for path in (source, target):
        path.parent.mkdir()
    onnx.save(onnx.load(standard_file), source, save_as_external_data=True, location="w.data",
              size_threshold=0)  # fmt: skip
    assert cli.main([str(source), "-o", str(target)]) == 0
    write_indexed_model(source, False, tmp_path)
    prepare(source, tmp_path / "rewritten.onnx", "lowered", "fp32")
    shutil.rmtree(source.parent)
    for name in (target, tmp_path / "indexed-as-is.onnx", tmp_path / "rewritten.onnx"):
        runtimes.open(name, "onnxruntime").run(np.zeros((1, 3, 45, 53), np.float32))


def test_reduced_precision_is_kept_in_another_form(standard_file: Path, tmp_path: Path) -> None:
    half, lowered = tmp_path / "half.onnx", tmp_path / "lowered.onnx"
    lenient = ["--min-agreement", "0.5"]
    assert cli.main([str(standard_file), "-o", str(half), "--precision", "fp16", *lenient]) == 0
    assert cli.main([str(half), "-o", str(lowered), "--form", "lowered", *lenient]) == 0
    assert Metadata.from_props(dict(load_model(lowered).metadata_props)).precision == "fp16"


def test_lowered_file_does_not_become_another_form(
    standard_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lowered, other = tmp_path / "lowered.onnx", tmp_path / "other.onnx"
    assert cli.main([str(standard_file), "-o", str(lowered), "--form", "lowered"]) == 0
    for form in ("standard", "plugin"):
        assert cli.main([str(lowered), "-o", str(other), "--form", form]) == 1
        assert "is in the lowered form" in capsys.readouterr().err
    assert not other.exists()


def test_source_is_not_overwritten(
    checkpoint: Path, standard_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in (checkpoint, standard_file):
        before = source.read_bytes()
        assert cli.main([str(source), "-o", str(source)]) == 2
        assert cli.main([str(source), "-o", str(tmp_path / "m.onnx"), "--engine", str(source)]) == 2
        assert "are one file" in capsys.readouterr().err
        assert source.read_bytes() == before
    with pytest.raises(UsageError, match="the source itself"):
        build(standard_file, standard_file, BuildOptions(targets=("sm86",)))


def test_torchs_own_export_becomes_standard(tmp_path: Path) -> None:
    source, target = tmp_path / "torch.onnx", tmp_path / "ours.onnx"
    net = families.build(families.CaffeNames)
    torch.onnx.export(net, (torch.zeros(1, 3, 45, 53),), source, dynamo=True, verbose=False)
    assert cli.main([str(source), "-o", str(target)]) == 0
    found = [node.op_type for node in onnx.load(target).graph.node]
    assert "ScatterND" not in found
    assert found.count("MaxUnpool") == 5


def _invalid(tmp_path: Path, checkpoint: Path) -> dict[str, tuple[list[str], int, str]]:
    cut = tmp_path / "cut.pt"
    cut.write_bytes(checkpoint.read_bytes()[:5000])
    other = tmp_path / "other.onnx"
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    info = [onnx.helper.make_tensor_value_info(n, 1, [1, 10]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "g", info[:1], info[1:])
    onnx.save(onnx.helper.make_model(graph), other)
    valid = str(checkpoint)
    return {
        "missing": (["missing.pt"], 1, "missing.pt"),
        "truncated": ([str(cut)], 1, "truncated"),
        "classes": ([valid, *SIZE, "--num-classes", "11"], 1, "--num-classes 11"),
        "class-list": ([valid, *SIZE, "--classes", "camvid"], 1, "11 classes but the model has 5"),
        "zero": ([valid, "--imgsz", "0", "0"], 2, "--imgsz 0 0"),
        "one": ([valid, "--imgsz", "1", "1"], 1, "1x1"),
        "std": ([valid, *SIZE, "--std", "0", "1", "1"], 2, "--std"),
        "onnx": ([str(other), "--form", "lowered"], 1, "not a segmentation model"),
        "module": ([valid, "--module", "nowhere"], 2, "pkg.mod:Class"),
        "no-module": ([valid, "--module", "no_such_pkg:Net"], 1, "no_such_pkg"),
        "image": ([valid, *SIZE, "--image", "missing.png"], 1, "missing.png"),
        "versions": ([valid, "--version-compatible"], 2, "--version-compatible requires --build"),
        "form-usage": ([valid, "--form", "thin"], 2, "thin"),
    }


NAMES = [
    *("missing", "truncated", "classes", "class-list", "zero", "one"),
    *("std", "onnx", "module", "no-module", "image", "versions", "form-usage"),
]


@pytest.mark.parametrize("name", NAMES)
def test_invalid_input_is_one_line_and_leaves_no_file(
    name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, status, message = _invalid(tmp_path, checkpoint)[name]
    folder = tmp_path / "out"
    folder.mkdir()
    try:
        got = cli.main([*arguments, "-o", str(folder / "m.onnx")])
    except SystemExit as stop:  # argparse
        got = stop.code
    error = capsys.readouterr().err
    assert got == status
    assert message in error
    assert "Traceback" not in error
    if name != "form-usage":  # argparse prints its usage first
        assert [line for line in error.splitlines() if line.startswith("error: ")][-1]
    assert list(folder.iterdir()) == []


def run_program(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` and then segnet-export with `arguments`, in a child process."""
    command = f"{code}\nfrom segnet_export import cli\nsys.exit(cli.main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{command}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


WITHOUT_TORCH = "sys.modules['torch'] = None"  # any import of it raises ImportError


@pytest.mark.parametrize(
    "options", [["--form", "lowered"], ["--form", "plugin"], ["--precision", "fp16"]]
)
def test_onnx_file_is_converted_without_torch(
    options: list[str], standard_file: Path, tmp_path: Path
) -> None:
    target = tmp_path / "other.onnx"
    done = run_program(WITHOUT_TORCH, str(standard_file), "-o", str(target), *options)
    assert done.returncode == 0, done.stderr
    assert target.exists()


def test_geometry_applies_to_a_segnet_of_unknown_names(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint), "-o", str(tmp_path / "m.onnx"), *SIZE, "--geometry", "ceil"]
    assert cli.main([*arguments, "--arch", "segnet"]) == 0
    assert "ceil pooling" in capsys.readouterr().err
    assert cli.main([*arguments, "--arch", "segnet-basic"]) == 2
    assert "--geometry does not apply" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["checkpoint", "arch"])
def test_missing_torch_is_one_line_that_names_the_extra(
    source: str, checkpoint: Path, tmp_path: Path
) -> None:
    given = [str(checkpoint)] if source == "checkpoint" else ["--arch", "segnet"]
    done = run_program(WITHOUT_TORCH, *given, "-o", str(tmp_path / "m.onnx"), *SIZE)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: torch cannot be imported")
    assert 'pip install "segnet-deploy[export]"' in done.stderr


def test_no_message_of_another_library_appears(checkpoint: Path, tmp_path: Path) -> None:
    options = ["--precision", "bf16", "--min-agreement", "0.5", "--bgr"]
    values = ["--mean", "0", "0", "0", "--std", "1", "1", "1"]
    done = run_program(
        "", str(checkpoint), "-o", str(tmp_path / "m.onnx"), *SIZE, *options, *values
    )
    assert done.returncode == 0, done.stderr
    ours = r"family |note: |exporting$|left out: |\w+: comparing "
    other = [line for line in done.stderr.splitlines() if not re.match(ours, line)]
    assert other == []
    assert "\r" not in done.stderr


def test_exported_file_contains_no_path_of_this_machine(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    assert cli.main([str(checkpoint), "-o", str(target), *SIZE, "--bgr"]) == 0
    here = str(Path(cli.__file__).parent).encode()
    assert here not in target.read_bytes()
    assert b"site-packages" not in target.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_full_disk_is_one_line_and_leaves_no_file(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from segnet_export import cli, exporter\n"
        "import torch\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
    )
    done = run_program(code, str(checkpoint), "-o", str(folder / "m.onnx"), *SIZE)
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: cannot write")
    assert list(folder.iterdir()) == []
