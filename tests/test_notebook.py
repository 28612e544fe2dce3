"""The notebook runs from top to bottom, in a process and a folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2

NOTEBOOK = Path(__file__).parents[1] / "examples/quickstart.ipynb"
# Each cell as a notebook runs it: one after the other, in one namespace.
PROGRAM = """
import json, sys
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
"""


def test_notebook_runs_and_writes_what_it_says(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(NOTEBOOK)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Road" in done.stdout
    assert "onnxruntime" in done.stdout
    assert "fp32: median " in done.stdout
    assert "int8: median " in done.stdout
    assert cv2.imread(str(tmp_path / "overlay.png")).shape[1] > 240  # with the legend
    assert cv2.imread(str(tmp_path / "labels.png"), cv2.IMREAD_UNCHANGED).shape == (180, 240)
    assert json.loads((tmp_path / "result.json").read_text())["annotations"]
    assert (tmp_path / "demo_int8.onnx").is_file()


def test_notebook_is_one() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert notebook["nbformat"] == 4
    assert NOTEBOOK.stat().st_size < 300_000
    assert not any(
        output["output_type"] == "error"
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
    )
