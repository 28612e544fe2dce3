"""The device package imports without torch, and --help loads no heavy library."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import segnet_deploy
from segnet_deploy.optional import available

MODULES = sorted(m.name for m in pkgutil.walk_packages(segnet_deploy.__path__, "segnet_deploy."))
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_device_module_imports_without_torch() -> None:
    imports = "\n".join(f"import {name}" for name in MODULES)
    python(f"BLOCKED = {{'torch', 'segnet_export'}}{BLOCK}{imports}")
    assert len(MODULES) > 20


@pytest.mark.parametrize(
    "command", ["predict", "bench", "build", "eval", "doctor", "camera", "batch", "completion"]
)
def test_help_loads_nothing_heavy(command: str) -> None:
    heavy = "{'torch', 'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'openvino', 'cv2', 'tqdm', 'av'}"
    out = python(
        f"BLOCKED = {heavy}{BLOCK}"
        f"from segnet_deploy.cli.{command} import build_parser\n"
        "build_parser().print_help()"
    )
    assert f"segnet-{command}" in out


def test_export_help_loads_no_torch() -> None:
    out = python(
        f"BLOCKED = {{'torch', 'onnx', 'numpy'}}{BLOCK}"
        "from segnet_export.cli import build_parser\nbuild_parser().print_help()"
    )
    assert "--imgsz" in out


def test_missing_library_names_the_extra() -> None:
    out = python(
        f"BLOCKED = {{'cv2'}}{BLOCK}"
        "from segnet_deploy import MissingDependencyError\n"
        "from segnet_deploy.frames import read_image\n"
        "try:\n    read_image('x.png')\nexcept MissingDependencyError as e:\n    print(e)"
    )
    assert 'pip install "segnet-deploy[camera]"' in out


def test_left_over_folder_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "left_over").mkdir()
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert not available("left_over")
    assert available("whole")
    assert not available("nowhere.at_all")


def test_public_names_are_pinned() -> None:
    assert segnet_deploy.__all__ == sorted(segnet_deploy.__all__)
    assert set(segnet_deploy.__all__) == {
        "BatchOptions",
        "BatchResult",
        "BuildOptions",
        "Built",
        "CaffeResult",
        "Camera",
        "Comparison",
        "ComparisonExtras",
        "ComparisonSettings",
        "ConvertResult",
        "EngineError",
        "Example",
        "FunctionEngine",
        "InputError",
        "InputReport",
        "Metadata",
        "MissingDependencyError",
        "ParityError",
        "Predictions",
        "PretrainedNet",
        "QuantiseResult",
        "Repository",
        "Result",
        "RunResult",
        "SegNetError",
        "Segmenter",
        "ServingOptions",
        "TuneResult",
        "TuneSettings",
        "UnsupportedModelError",
        "UsageError",
        "__version__",
        "build",
        "compare",
        "convert",
        "convert_caffe",
        "evaluate",
        "find_examples",
        "list_pretrained",
        "load",
        "predict_files",
        "quantise",
        "read_schema",
        "rebuild",
        "run_model",
        "segment_archive",
        "to_coco",
        "tune",
        "write_repository",
    }
    for name in segnet_deploy.__all__:
        assert getattr(segnet_deploy, name) is not None
