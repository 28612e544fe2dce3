"""Everything that needs a GPU, in one call: tests, memory checker, bandwidth, engines, peers.

    python benchmarks/gpu_check.py -o out/gpu

Needs a GPU, nvcc, torch with CUDA, numpy and pytest; what else is missing is said and left out.
Each part is a file of its own in the output folder, written when it is done.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
for _folder in (ROOT, ROOT / "export", ROOT / "benchmarks", ROOT / "benchmarks/kernels"):
    sys.path.insert(0, str(_folder))

import cuda_kernels  # noqa: E402 - after the path
import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from segnet_deploy.system import nvml  # noqa: E402

ROUNDS = 30
FLUSH_BYTES = 512 << 20  # more than any L2


def tests(folder: Path) -> dict[str, Any]:
    """Run the GPU tests."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/plugins/test_gpu.py",
        "-q",
        "--require",
        "gpu",
    ]
    return _run(command, folder / "tests.log", 300)


def sanitizer(folder: Path) -> dict[str, Any]:
    """Run some of the GPU tests under compute-sanitizer."""
    if shutil.which("compute-sanitizer") is None:
        return {"skipped": "no compute-sanitizer on PATH"}
    only = ["-k", "table or nan", "-q", "-p", "no:cacheprovider"]
    command = ["compute-sanitizer", "--error-exitcode", "9", sys.executable, "-m", "pytest"]
    return _run([*command, "tests/plugins/test_gpu.py", *only], folder / "sanitizer.log", 240)


def bandwidth(_: Path) -> dict[str, Any]:
    """Time pool and unpool apart, against a device copy and PyTorch's pair; L2 is flushed."""
    shape = (8, 64, 360, 480)
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        library = cuda_kernels.build(Path(name))
        for kind, dtype in (("fp16", torch.float16), ("fp32", torch.float32)):
            for layout, memory in (
                ("NCHW", torch.contiguous_format),
                ("NHWC", torch.channels_last),
            ):
                x = torch.randn(shape, device="cuda").to(dtype).contiguous(memory_format=memory)
                n, c, h, w = shape
                y = torch.empty((n, c, h // 2, w // 2), dtype=dtype, device="cuda")
                y = y.contiguous(memory_format=memory)
                back = torch.empty_like(x)
                codes = torch.empty((n, c // 16, h // 2, w // 2), dtype=torch.int32, device="cuda")
                pair = cuda_kernels.Pair(library, kind, layout, shape)
                at = {"x": x, "y": y, "codes": codes, "back": back}
                pointers = {key: tensor.data_ptr() for key, tensor in at.items()}
                pooled, index = F.max_pool2d(x, 2, 2, return_indices=True)

                def pool(pair=pair, p=pointers) -> None:  # type: ignore[no-untyped-def]
                    stream = torch.cuda.current_stream().cuda_stream
                    pair.pool(p["x"], p["y"], p["codes"], stream)

                def unpool(pair=pair, p=pointers) -> None:  # type: ignore[no-untyped-def]
                    stream = torch.cuda.current_stream().cuda_stream
                    pair.unpool(p["y"], p["codes"], p["back"], stream)

                calls: dict[str, Callable[[], Any]] = {
                    "copy": lambda a=back, b=x: a.copy_(b),
                    "pool": pool,
                    "unpool": unpool,
                    "torch pool": lambda x=x: F.max_pool2d(x, 2, 2, return_indices=True),
                    "torch unpool": lambda p=pooled, i=index: F.max_unpool2d(p, i, 2, 2),
                }
                seconds = _times(calls, flush)
                size = x.element_size()
                moved = x.numel() * size + y.numel() * size + codes.numel() * 4
                copied = 2 * x.numel() * size / seconds["copy"]
                rows.append(
                    {
                        "type": kind,
                        "layout": layout,
                        "shape": list(shape),
                        "seconds": seconds,
                        "copy_bytes_per_second": copied,
                        "pool_of_copy_bandwidth": moved / seconds["pool"] / copied,
                        "unpool_of_copy_bandwidth": moved / seconds["unpool"] / copied,
                        "pair_times_faster_than_torch": (
                            seconds["torch pool"] + seconds["torch unpool"]
                        )
                        / (seconds["pool"] + seconds["unpool"]),
                    }
                )
    return {"rows": rows, "gpu": nvml.read()}


def engines(folder: Path) -> dict[str, Any]:
    """Build and run an engine of TensorRT-RTX here, lowered and plugin form where they go."""
    from segnet_deploy.runtimes.tensorrt.library import load

    try:
        version = load("tensorrt-rtx").version
    except Exception as error:
        return {"skipped": f"TensorRT-RTX is not here: {error}"}
    source, engine = folder / "segnet.onnx", folder / "segnet.trt"
    commands = [
        [sys.executable, "-m", "segnet_export.cli", "benchmarks/demo/segnet_demo.pt"]
        + ["-o", str(source), "--imgsz", "180", "240"],
        [sys.executable, "-m", "segnet_deploy.cli.build", str(source), "-o", str(engine)]
        + ["--form", "lowered"],
        [sys.executable, "-m", "segnet_deploy.cli.bench", "--engine", str(engine)],
    ]
    done = [_run(c, folder / f"engine-{i}.log", 120) for i, c in enumerate(commands)]
    return {"version": version, "steps": done}


def peers(_: Path) -> dict[str, Any]:
    """Time the whole SegNet in PyTorch eager, fp32 and fp16; ONNX Runtime CUDA where it is."""
    from segnet_export import SegNet, SegNetConfig

    torch.manual_seed(0)
    net = SegNet(SegNetConfig.standard(11)).eval().cuda()
    x = torch.randn(1, 3, 360, 480, device="cuda")
    half, x16 = SegNet(SegNetConfig.standard(11)).eval().cuda().half(), x.half()
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    with torch.inference_mode():
        calls = {"eager fp32": lambda: net(x), "eager fp16": lambda: half(x16)}
        seconds = _times(calls, flush)
    import onnxruntime

    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    note = "not timed here" if has_cuda else "this wheel has no CUDA provider"
    return {"seconds": seconds, "onnxruntime": note}


PARTS = {f.__name__: f for f in (tests, bandwidth, sanitizer, engines, peers)}


def main() -> int:
    parser = argparse.ArgumentParser(description="everything that needs a GPU, in one call")
    parser.add_argument("-o", "--output", default="out/gpu")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    if not torch.cuda.is_available():
        print("error: no CUDA device answers torch; expected a GPU", file=sys.stderr)
        return 1
    facts = {
        "device": torch.cuda.get_device_name(),
        "capability": list(torch.cuda.get_device_capability()),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "gpu": nvml.read(),
    }
    failed = 0
    for name in arguments.only:
        started = time.perf_counter()
        try:
            result = PARTS[name](folder)
        except Exception as error:  # one part must not lose the others
            result = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        failed += "error" in result or result.get("status", 0) != 0
        result = {"part": name, **facts, **result, "took": time.perf_counter() - started}
        (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result)[:2000], flush=True)
    return 1 if failed else 0


def _times(calls: dict[str, Callable[[], Any]], flush: torch.Tensor) -> dict[str, float]:
    """Return median seconds by events, interleaved; the stream is held while work is queued."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(3):
            call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            flush.zero_()
            torch.cuda._sleep(500_000)
            start.record()
            call()
            end.record()
            end.synchronize()
            samples[name].append(start.elapsed_time(end) / 1e3)
    return {name: median(values) for name, values in samples.items()}


def _run(command: list[str], log: Path, limit: float) -> dict[str, Any]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "export"), os.environ.get("PYTHONPATH", "")])
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {limit:.0f} s", "command": command[2:]}
    log.write_text(done.stdout + done.stderr)
    tail = (done.stdout + done.stderr).strip().splitlines()[-4:]
    return {"status": done.returncode, "tail": tail}


if __name__ == "__main__":
    sys.exit(main())
