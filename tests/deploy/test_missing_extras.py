"""Each command without a library that it needs: one line that says what to install, status 1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from console_commands import COMMANDS

RUNTIMES = ("onnxruntime", "openvino", "ncnn")
READERS = ("cv2", "PIL", "simplejpeg", "av")
PROGRAM = """
import sys
blocked = set({blocked!r})
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {{name!r}}")
sys.meta_path.insert(0, Block())
from {module} import main
sys.exit(main({words!r}))
"""
# Command and arguments, the libraries that are missing, the extra that the line names.
CASES = {
    "export": ("segnet-export MODEL.pt -o OUT.onnx", ["torch"], "export"),
    "export int8": (
        "segnet-export ENGINE -o OUT.onnx --precision int8 --calib IMAGES",
        [*READERS],
        "quant",
    ),
    "convert": ("segnet-export ENGINE -o OUT.onnx --form lowered", [*RUNTIMES], "onnxruntime"),
    "predict": ("segnet-predict --engine ENGINE IMAGES -o OUT", [*READERS], "camera"),
    "predict runtime": ("segnet-predict --engine ENGINE IMAGES -o OUT", [*RUNTIMES], "openvino"),
    "predict openvino": (
        "segnet-predict --engine ENGINE IMAGES -o OUT --runtime openvino",
        ["openvino"],
        "openvino",
    ),
    "predict server": (
        "segnet-predict --server grpc://127.0.0.1:1/segnet IMAGES -o OUT",
        ["tritonclient"],
        "triton",
    ),
    "bench": ("segnet-bench --engine ENGINE --runs 1", [*RUNTIMES], "openvino"),
    "bench ncnn": ("segnet-bench --engine ENGINE --runtime ncnn", ["ncnn"], "ncnn"),
    "eval": ("segnet-eval --engine ENGINE --data DATA", [*READERS], "eval"),
    "eval boundary": (
        "segnet-eval --engine ENGINE --data DATA --runtime onnxruntime",
        ["scipy"],
        "eval",
    ),
    "camera": ("segnet-camera --engine ENGINE --source synthetic --duration 1", [*RUNTIMES], ""),
    "camera page": (
        "segnet-camera --engine ENGINE --source synthetic --duration 1 --serve 127.0.0.1:0",
        ["aiohttp"],
        "web",
    ),
    "batch": (
        "segnet-batch --engine ENGINE --source IMAGES -o OUT --no-ray --runtime onnxruntime",
        ["pyarrow"],
        "batch",
    ),
    "batch ray": (
        "segnet-batch --engine ENGINE --source IMAGES -o OUT --workers 2",
        ["ray"],
        "ray",
    ),
    "tune ncnn": ("segnet-tune ENGINE --calib IMAGES -o OUT --runtime ncnn", ["ncnn"], "ncnn"),
    "tune": ("segnet-tune ENGINE --calib IMAGES -o OUT", [*RUNTIMES], "openvino"),
    "build": ("segnet-build ENGINE -o OUT.trt", ["tensorrt", "tensorrt_rtx_bindings"], "tensorrt"),
}


def run(command: str, words: list[str], blocked: list[str]) -> subprocess.CompletedProcess[str]:
    code = PROGRAM.format(blocked=blocked, module=COMMANDS[command], words=words)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("name", CASES)
def test_missing_library_is_one_line_that_names_the_extra(
    name: str, small_model: Path, data: Path, tmp_path: Path
) -> None:
    line, blocked, extra = CASES[name]
    places = {"ENGINE": small_model, "DATA": data, "IMAGES": data / "images"}
    places |= {"MODEL.pt": tmp_path / "m.pt", "OUT": tmp_path / "out"}
    places |= {f"OUT{suffix}": tmp_path / f"out{suffix}" for suffix in (".onnx", ".trt")}
    (tmp_path / "m.pt").write_bytes(b"PK")
    command, *words = line.split()
    done = run(command, [str(places.get(word, word)) for word in words], blocked)
    errors = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert done.returncode == 1, done.stderr
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert f'pip install "segnet-deploy[{extra}' in errors[0]
    assert not [path for path in tmp_path.rglob("out*/**/*") if path.is_file()]
    assert not (tmp_path / "out.onnx").exists()


def test_doctor_without_libraries_says_what_to_install() -> None:
    done = run("segnet-doctor", [], [*RUNTIMES, *READERS, "torch", "tensorrt"])
    assert done.returncode == 1
    assert 'pip install "segnet-deploy[onnxruntime]"' in done.stdout
    assert "Traceback" not in done.stderr


def test_triton_needs_no_extra(small_model: Path, tmp_path: Path) -> None:
    words = [str(small_model), "-o", str(tmp_path / "models")]
    done = run("segnet-triton", words, ["tritonclient", "torch", *READERS])
    assert done.returncode == 0, done.stderr
