"""Ceilings of the machine: what compiled loops, a library's large GEMM and memcpy reach.

The loops multiply and add in vector registers and, where the CPU has them, in AMX tiles.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.measurement import CLOCKS
from segnet_deploy.bench import roofline
from segnet_deploy.errors import MissingDependencyError
from segnet_deploy.optional import available
from segnet_deploy.types import Clock

SOURCE = Path(__file__).with_name("ceilings.cpp")
SIDE = 2048  # of the square matrices
REPEATS = 6
SECONDS = 1.0  # of each loop
GEMMS = {"fp32": "numpy", "int8": "onnxruntime"}


def measure_ceilings(threads: int, clock: str = "wall") -> dict[str, Any]:
    """Return GMAC/s of fp32, bf16 and int8, GB/s of memcpy, and why no AMX tile loop ran.

    `rates` has every rate by precision and by what reached it, `taken` the name of the highest,
    `gmacs` the highest; `no_amx` is empty if the tile loop ran. `clock` is a key of CLOCKS; numpy's
    GEMM is timed only by the wall clock. Raises MissingDependencyError without a C++ compiler.
    """
    loop = run_loops(threads, SECONDS, clock)
    gemm = {"fp32": None, "int8": _int8_gemm(threads, CLOCKS[clock])}
    if clock == "wall":
        gemm["fp32"] = roofline.measure_ceilings(threads)["macs_per_second"] / 1e9
    rates = name_rates(loop, gemm)
    taken = {kind: max(found, key=lambda name: found[name]) for kind, found in rates.items()}
    return {
        **{name: loop[name] for name in ("vector_bytes", "no_amx", "memcpy_gbs")},
        "rates": rates,
        "taken": taken,
        "gmacs": {kind: rates[kind][name] for kind, name in taken.items()},
    }


def name_rates(loop: dict[str, Any], gemm: dict[str, float | None]) -> dict[str, dict[str, float]]:
    """Return what was measured, by precision and by name; a precision without rates is left out."""
    rates = {}
    for precision in ("fp32", "bf16", "int8"):
        instructions = loop.get(f"{precision}_with", "FMA")
        found = {
            f"{instructions} loop": loop[f"{precision}_gmacs"],
            "AMX tile loop": loop.get(f"amx_{precision}_gmacs"),
            f"GEMM of {GEMMS.get(precision)}": gemm.get(precision),
        }
        rates[precision] = {name: rate for name, rate in found.items() if rate}
    return {precision: found for precision, found in rates.items() if found}


def run_loops(threads: int, seconds: float, clock: str = "wall") -> dict[str, Any]:
    """Return what ceilings.cpp measures with each loop running for `seconds`.

    Raises MissingDependencyError without a C++ compiler.
    """
    compiler = shutil.which("c++")
    if compiler is None:
        raise MissingDependencyError(
            "no C++ compiler (c++) on PATH; the ceilings need one: apt-get install g++"
        )
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "ceilings")
        options = ["-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-pthread"]
        subprocess.run([compiler, *options, str(SOURCE), "-o", program], check=True)
        call = [program, str(threads), str(seconds), clock]
        done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _int8_gemm(threads: int, clock: Clock) -> float | None:
    """Return GMAC/s of ONNX Runtime's uint8 x int8 product, or None if it is not installed."""
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
    return _best_gmacs(lambda: session.run(None, {"a": a}), clock)


def _best_gmacs(multiply: Callable[[], object], clock: Clock) -> float:
    """Return GMAC/s of the fastest of some products of two matrices of SIDE x SIDE."""
    times = []
    for _ in range(REPEATS):
        before = clock()
        multiply()
        times.append(clock() - before)
    return float(SIDE**3 / min(times) / 1e9)
