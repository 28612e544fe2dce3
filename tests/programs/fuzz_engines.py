"""Do segnet-build and the loader report one clear error for a damaged file, and leave no files?

    python tests/programs/fuzz_engines.py [--cases N] [--seed S]

Needs TensorRT-RTX, which builds without a GPU. Exit status 1 at the first case that fails.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import tempfile
from pathlib import Path

import torch
from fuzzing.file_mutations import mutate_bytes, mutate_json

from segnet_deploy import runtimes
from segnet_deploy.cli import build
from segnet_deploy.errors import SegNetError
from segnet_deploy.runtimes.model_file import save_model
from segnet_deploy.runtimes.tensorrt.plan import sidecar_path
from segnet_export import SegNet, SegNetConfig
from segnet_export.exporter import ExportOptions, finish
from segnet_export.torch_graph import to_onnx


def make_files(folder: Path) -> tuple[Path, Path]:
    """Export a small SegNet and build it; return the ONNX file and the engine file."""
    torch.manual_seed(0)
    onnx, plan = folder / "segnet.onnx", folder / "segnet.trt"
    network = SegNet(SegNetConfig.standard(3, width=2)).eval()
    model, _ = to_onnx(network, torch.zeros(1, 3, 32, 32))
    finish(model, 3, ExportOptions())
    save_model(model, onnx)
    status = build.main([str(onnx), "-o", str(plan), "--target", "sm86", "--form", "lowered"])
    assert status == 0
    return onnx, plan


def check_build(onnx: Path, seed: int) -> str:
    """Build from a mutated ONNX file; return what is wrong, or an empty string."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        source, plan = Path(name, "m.onnx"), Path(name, "out", "m.trt")
        plan.parent.mkdir()
        source.write_bytes(mutate_bytes(onnx.read_bytes(), rng))
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            arguments = [str(source), "-o", str(plan), "--target", "sm86", "--form", "lowered"]
            status = build.main(arguments)
        left = sorted(path.name for path in plan.parent.iterdir())
        if status == 0:
            return "" if left == ["m.trt", "m.trt.json"] else f"built, and left {left}"
        lines = [x for x in errors.getvalue().splitlines() if x.strip().startswith("error: ")]
        if status not in (1, 2) or len(lines) != 1:
            return f"status {status} with messages {errors.getvalue()[-300:]!r}"
        return f"failed, and left {left}" if left else ""


def check_load(plan: Path, seed: int) -> str:
    """Load a mutated engine or sidecar; return what is wrong, or an empty string."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name, "m.trt")
        data, sidecar = plan.read_bytes(), sidecar_path(plan).read_bytes()
        mutated = rng.choice(("plan", "sidecar", "both"))
        copy.write_bytes(data if mutated == "sidecar" else mutate_bytes(data, rng))
        if rng.random() < 0.8:
            text = sidecar if mutated == "plan" else mutate_json(sidecar, rng)
            sidecar_path(copy).write_bytes(text)
        before = sorted(path.name for path in Path(name).iterdir())
        try:
            runtimes.open(copy).close()
        except SegNetError as error:
            if not str(error).strip():
                return "an error without a message"
        after = sorted(path.name for path in Path(name).iterdir())
        return "" if before == after else f"left {set(after) - set(before)}"


def find_failure(cases: int, seed: int, folder: Path) -> str:
    """Return the first case that fails, or an empty string."""
    onnx, plan = make_files(folder)
    for name, check, source in (("load", check_load, plan), ("build", check_build, onnx)):
        for number in range(seed, seed + cases):
            if number % 50 == 0:  # no bar: segnet-build draws one
                print(f"{name}: seed {number}", file=sys.stderr)
            if wrong := check(source, number):
                return f"{name}, seed {number}: {wrong}"
    return ""


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=500, help="of each kind (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: 0)")
    arguments = parser.parse_args()
    cases = arguments.cases
    with tempfile.TemporaryDirectory() as name:
        failure = find_failure(cases, arguments.seed, Path(name))
    if failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"{cases} mutated engines and sidecars, {cases} mutated ONNX files: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
