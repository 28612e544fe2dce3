"""Ceilings of a machine: what a compiled loop and a library's largest GEMM reach."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.errors import MissingDependencyError
from segnet_deploy.optional import available

SOURCE = Path(__file__).with_name("ceilings.cpp")
SIDE = 2048  # of the square matrices
REPEATS = 6


def measure_ceilings(threads: int, seconds: float = 1.0) -> dict[str, Any]:
    """Return GMAC/s of fp32 and int8 (loop, GEMM and the better one) and GB/s of memcpy.

    Raises MissingDependencyError where there is no C++ compiler.
    """
    loop = _loop(threads, seconds)
    gemm = {"fp32": _fp32_gemm(threads), "int8": _int8_gemm(threads)}
    best = {kind: max(loop[f"{kind}_gmacs"], gemm[kind] or 0.0) for kind in gemm}
    return {"loop": loop, "gemm_gmacs": gemm, "gmacs": best, "memcpy_gbs": loop["memcpy_gbs"]}


def _loop(threads: int, seconds: float) -> dict[str, Any]:
    compiler = shutil.which("c++")
    if compiler is None:
        raise MissingDependencyError("no C++ compiler (c++) on PATH: the ceilings need one")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "ceilings")
        options = ["-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-pthread"]
        subprocess.run([compiler, *options, str(SOURCE), "-o", program], check=True)
        done = subprocess.run(
            [program, str(threads), str(seconds)], check=True, capture_output=True, text=True
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _best(call: Callable[[], object]) -> float:
    """Return GMAC/s of one product of two matrices of SIDE x SIDE."""
    times = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return float(SIDE**3 / min(times) / 1e9)


def _fp32_gemm(threads: int) -> float:
    import torch

    torch.set_num_threads(threads)
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    return _best(lambda: torch.mm(a, b))


def _int8_gemm(threads: int) -> float | None:
    """Return what ONNX Runtime's u8 x s8 product reaches, or None where it is missing."""
    if not available("onnxruntime"):
        return None
    import onnxruntime
    from onnx import TensorProto as T
    from onnx import helper as h
    from onnx import numpy_helper

    weight = np.random.default_rng(0).integers(-64, 64, (SIDE, SIDE)).astype(np.int8)
    graph = h.make_graph(
        [h.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "gemm",
        [h.make_tensor_value_info("a", T.UINT8, [SIDE, SIDE])],
        [h.make_tensor_value_info("y", T.INT32, [SIDE, SIDE])],
        [numpy_helper.from_array(weight, "b")],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    a = np.ones((SIDE, SIDE), np.uint8)
    return _best(lambda: session.run(None, {"a": a}))
