"""Does everything that needs a GPU work here, and how fast is it?

    python benchmarks/gpu_check.py -o out/gpu

Runs the GPU tests, a memory checker, the kernels' bandwidth, engines and peers in one call. Needs
a GPU, nvcc, torch with CUDA, numpy and pytest; a part whose other requirements are missing is
reported as skipped. Each part writes its own file to the output folder when it is done.
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
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from segnet_deploy.system import nvml  # noqa: E402

ROUNDS = 30
SHAPE = (8, 64, 360, 480)
FLUSH_BYTES = 512 << 20  # more than any L2


def tests(folder: Path) -> dict[str, Any]:
    """Run the GPU tests."""
    command = [sys.executable, "-m", "pytest", "tests/plugins/test_gpu.py", "-q"]
    return _run([*command, "--require", "gpu"], folder / "tests.log", 300)


def sanitizer(folder: Path) -> dict[str, Any]:
    """Run some of the GPU tests under compute-sanitizer."""
    if shutil.which("compute-sanitizer") is None:
        return {"skipped": "no compute-sanitizer on PATH"}
    only = ["-k", "table or nan", "-q", "-p", "no:cacheprovider"]
    command = ["compute-sanitizer", "--error-exitcode", "9", sys.executable, "-m", "pytest"]
    return _run([*command, "tests/plugins/test_gpu.py", *only], folder / "sanitizer.log", 240)


def bandwidth(_: Path) -> dict[str, Any]:
    """Time pool and unpool separately, against a device copy and PyTorch's pair; L2 is flushed."""
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        library = cuda_kernels.build(Path(name))
        for kind, dtype in (("fp16", torch.float16), ("fp32", torch.float32)):
            for layout, memory in (
                ("NCHW", torch.contiguous_format),
                ("NHWC", torch.channels_last),
            ):
                x = torch.randn(SHAPE, device="cuda").to(dtype).contiguous(memory_format=memory)
                pair = cuda_kernels.Pair(library, kind, layout, SHAPE)
                rows.append(
                    {"type": kind, "layout": layout, "shape": list(SHAPE)}
                    | _pair_bandwidth(pair, x, memory, flush)
                )
    return {"rows": rows, "gpu": nvml.read()}


def _pair_bandwidth(
    pair: cuda_kernels.Pair, x: Tensor, memory: torch.memory_format, flush: Tensor
) -> dict[str, Any]:
    """Time one type and layout; return seconds, and the share of the copy's bandwidth."""
    n, c, h, w = x.shape
    y = torch.empty((n, c, h // 2, w // 2), dtype=x.dtype, device="cuda")
    y = y.contiguous(memory_format=memory)
    back = torch.empty_like(x)
    codes = torch.empty((n, c // 16, h // 2, w // 2), dtype=torch.int32, device="cuda")
    pooled, index = F.max_pool2d(x, 2, 2, return_indices=True)

    def stream() -> int:
        return int(torch.cuda.current_stream().cuda_stream)

    calls: dict[str, Callable[[], Any]] = {
        "copy": lambda: back.copy_(x),
        "pool": lambda: pair.pool(x.data_ptr(), y.data_ptr(), codes.data_ptr(), stream()),
        "unpool": lambda: pair.unpool(y.data_ptr(), codes.data_ptr(), back.data_ptr(), stream()),
        "torch pool": lambda: F.max_pool2d(x, 2, 2, return_indices=True),
        "torch unpool": lambda: F.max_unpool2d(pooled, index, [2, 2], [2, 2]),
    }
    seconds = _times(calls, flush)
    size = x.element_size()
    moved = x.numel() * size + y.numel() * size + codes.numel() * 4
    copied = 2 * x.numel() * size / seconds["copy"]
    of_torch = seconds["torch pool"] + seconds["torch unpool"]
    return {
        "seconds": seconds,
        "copy_bytes_per_second": copied,
        "pool_of_copy_bandwidth": moved / seconds["pool"] / copied,
        "unpool_of_copy_bandwidth": moved / seconds["unpool"] / copied,
        "pair_times_faster_than_torch": of_torch / (seconds["pool"] + seconds["unpool"]),
    }


def engines(folder: Path) -> dict[str, Any]:
    """Export the demo's network, build it with TensorRT-RTX in lowered form, and time it."""
    from segnet_deploy.runtimes.tensorrt.library import load

    try:
        version = load("tensorrt-rtx").version
    except Exception as error:
        return {"skipped": f"TensorRT-RTX cannot be loaded: {error}"}
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
    """Time the full SegNet in PyTorch eager, fp32 and fp16."""
    from segnet_export import SegNet, SegNetConfig

    torch.manual_seed(0)
    network = SegNet(SegNetConfig.standard(11)).eval().cuda()
    x = torch.randn(1, 3, 360, 480, device="cuda")
    half, x16 = SegNet(SegNetConfig.standard(11)).eval().cuda().half(), x.half()
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    with torch.inference_mode():
        calls = {"eager fp32": lambda: network(x), "eager fp16": lambda: half(x16)}
        seconds = _times(calls, flush)
    import onnxruntime

    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    note = "not timed here" if has_cuda else "this wheel has no CUDA provider"
    return {"seconds": seconds, "onnxruntime": note}


PARTS = {f.__name__: f for f in (tests, bandwidth, sanitizer, engines, peers)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", default="out/gpu", metavar="DIR")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts (default: all)"
    )
    arguments = parser.parse_args()
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    if not torch.cuda.is_available():
        print("error: torch finds no CUDA device; expected a GPU", file=sys.stderr)
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
        except Exception as error:  # a failed part does not stop the others
            result = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        failed += "error" in result or result.get("status", 0) != 0
        result = {"part": name, **facts, **result, "took": time.perf_counter() - started}
        (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result)[:2000], flush=True)
    return 1 if failed else 0


def _times(calls: dict[str, Callable[[], Any]], flush: Tensor) -> dict[str, float]:
    """Return median seconds by CUDA events, in interleaved rounds.

    The stream sleeps while the work is queued, so that launch times do not count.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(3):
            call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            flush.zero_()
            torch.cuda._sleep(500_000)  # type: ignore[no-untyped-call]
            start.record()
            call()
            end.record()
            end.synchronize()
            samples[name].append(start.elapsed_time(end) / 1e3)
    return {name: median(values) for name, values in samples.items()}


def _run(command: list[str], log: Path, limit: float) -> dict[str, Any]:
    """Run a command for at most `limit` seconds; return its status and last lines."""
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
