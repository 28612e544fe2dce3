"""Mutated files through segnet-build and the loader: one clear error, and nothing left behind.

    python tests/programs/fuzz.py [--cases N] [--seed S]

Needs TensorRT-RTX, which builds without a GPU. Ends with status 1 at the first bad case.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import sys
import tempfile
from pathlib import Path

import torch

from segnet_deploy import runtimes
from segnet_deploy.cli import build
from segnet_deploy.errors import SegNetError
from segnet_deploy.runtimes.model_file import save_model
from segnet_deploy.runtimes.tensorrt.plan import sidecar_path
from segnet_export import SegNet, SegNetConfig
from segnet_export.exporter import ExportOptions, finish
from segnet_export.torch_graph import to_onnx


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Cut, flip, insert, repeat or overwrite bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        if not changed:
            break
        at = rng.randrange(len(changed))
        how = rng.randrange(5)
        if how == 0:
            del changed[at : at + rng.choice((1, 7, 1000))]
        elif how == 1:
            changed[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            changed[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif how == 3:
            changed[at : at + 8] = changed[:8]
        else:
            changed[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\x7f", b"null", b"-1e9"))
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)


def mutate_sidecar(text: bytes, rng: random.Random) -> bytes:
    """Mutate the bytes, or give one entry another value."""
    if rng.random() < 0.4:
        return mutate(text, rng)
    known = json.loads(text)
    name = rng.choice(sorted(known))
    values = [None, -1, 1e308, "", "x" * 10_000, [], {}, [[]], {"a": None}, True, known]
    value = rng.choice(values)
    if rng.random() < 0.2:
        del known[name]
    else:
        known[name] = str(value) if value is known else value
    return json.dumps(known).encode()


def make_files(folder: Path) -> tuple[Path, Path]:
    """Export a small SegNet and build it; return the ONNX file and the plan."""
    torch.manual_seed(0)
    onnx, plan = folder / "segnet.onnx", folder / "segnet.trt"
    net = SegNet(SegNetConfig.standard(3, width=2)).eval()
    model, _ = to_onnx(net, torch.zeros(1, 3, 32, 32))
    finish(model, 3, ExportOptions())
    save_model(model, onnx)
    status = build.main([str(onnx), "-o", str(plan), "--target", "sm86", "--form", "lowered"])
    assert status == 0
    return onnx, plan


def check_build(onnx: Path, seed: int) -> str:
    """Build from a mutated ONNX file; return what is wrong, or nothing."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        source, plan = Path(name, "m.onnx"), Path(name, "out", "m.trt")
        plan.parent.mkdir()
        source.write_bytes(mutate(onnx.read_bytes(), rng))
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            arguments = [str(source), "-o", str(plan), "--target", "sm86", "--form", "lowered"]
            status = build.main(arguments)
        left = sorted(path.name for path in plan.parent.iterdir())
        if status == 0:
            return "" if left == ["m.trt", "m.trt.json"] else f"built, and left {left}"
        lines = [x for x in errors.getvalue().splitlines() if x.strip().startswith("error: ")]
        if status not in (1, 2) or len(lines) != 1:
            return f"status {status}, said {errors.getvalue()[-300:]!r}"
        return f"failed, and left {left}" if left else ""


def check_load(plan: Path, seed: int) -> str:
    """Load a mutated plan or sidecar; return what is wrong, or nothing."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name, "m.trt")
        data, sidecar = plan.read_bytes(), sidecar_path(plan).read_bytes()
        which = rng.choice(("plan", "sidecar", "both"))
        copy.write_bytes(data if which == "sidecar" else mutate(data, rng))
        if rng.random() < 0.8:
            text = sidecar if which == "plan" else mutate_sidecar(sidecar, rng)
            sidecar_path(copy).write_bytes(text)
        before = sorted(path.name for path in Path(name).iterdir())
        try:
            runtimes.open(copy).close()
        except SegNetError as error:
            if not str(error).strip():
                return "an error without words"
        after = sorted(path.name for path in Path(name).iterdir())
        return "" if before == after else f"left {set(after) - set(before)}"


def main() -> int:
    parser = argparse.ArgumentParser(description="mutated files through builder and loader")
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        onnx, plan = make_files(Path(name))
        for what, check, source in (("load", check_load, plan), ("build", check_build, onnx)):
            for seed in range(arguments.seed, arguments.seed + arguments.cases):
                if seed % 50 == 0:  # no bar: segnet-build draws its own
                    print(f"{what}: seed {seed}", file=sys.stderr)
                if wrong := check(source, seed):
                    print(f"{what}, seed {seed}: {wrong}", file=sys.stderr)
                    return 1
    print(f"{arguments.cases} mutated plans and sidecars, {arguments.cases} mutated ONNX files: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
