"""Where a network stands under the roofline: its work, and the ceilings of this CPU.

Source: Williams, Waterman and Patterson, Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from segnet_deploy.errors import EngineError
from segnet_deploy.system.cpus import usable_cpus

DENSE = ("Conv", "ConvTranspose", "MatMul", "Gemm", "QLinearConv", "ConvInteger", "FusedConv")
SIDE = 2048  # of the matrices; 50 MB in all
COPY_BYTES = 256 << 20
ROUNDS = 5


def work(path: str | os.PathLike[str]) -> dict[str, int] | None:
    """Return `macs` and `traffic_bytes` of an ONNX file's dense operators, or None.

    Traffic counts what each convolution or matrix product reads and writes, once, in the
    file's own types. None where a shape is dynamic or not known. Raises InputError.
    """
    from segnet_deploy.runtimes.model_file import load_model

    macs = traffic = 0
    for node in load_model(Path(path)).graph.all_nodes():
        if node.op_type not in DENSE:
            continue
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        shapes = [_shape(value) for value in values]
        weights, result = _shape(node.inputs[_weights(node)]), _shape(node.outputs[0])
        if weights is None or result is None or None in shapes:
            return None
        macs += _macs(node, weights, result)
        for value, shape in zip(values, shapes, strict=True):
            width = value.dtype.itemsize if value.dtype is not None else 4
            traffic += int(math.prod(shape or ()) * width)
    return {"macs": macs, "traffic_bytes": traffic}


def ceilings(threads: int | None = None) -> dict[str, float]:
    """Return this CPU's `macs_per_second` (fp32) and `bytes_per_second`, as numpy reaches them.

    The best of some matrix products and copies in a process of its own with so many threads
    (None: as many as CPUs). The copy runs on one thread. Takes seconds. Raises EngineError.
    """
    count = str(threads or len(usable_cpus()))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-m", "segnet_deploy.bench.roofline"],
        env={**os.environ, **dict.fromkeys(names, count)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"the ceilings cannot be measured: {done.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _weights(node: Any) -> int:
    return 3 if node.op_type == "QLinearConv" else 1


def _macs(node: Any, weights: tuple[int, ...], result: tuple[int, ...]) -> int:
    if node.op_type == "ConvTranspose":  # each input value meets a kernel of each output channel
        return math.prod(_shape(node.inputs[0]) or ()) * math.prod(weights[1:])
    if node.op_type in ("MatMul", "Gemm"):
        transposed = node.op_type == "Gemm" and node.attributes.get_int("transB", 0)
        return math.prod(result) * weights[-1 if transposed else -2]
    return math.prod(result) * math.prod(weights[1:])


def _shape(value: Any) -> tuple[int, ...] | None:
    if value.shape is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return tuple(value.shape)


def _best(call: Any) -> float:
    call()
    times = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return min(times)


def _measure() -> dict[str, float]:
    import numpy as np

    a, b = np.ones((SIDE, SIDE), np.float32), np.ones((SIDE, SIDE), np.float32)
    out = np.empty_like(a)
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    return {
        "macs_per_second": SIDE**3 / _best(lambda: np.matmul(a, b, out=out)),
        "bytes_per_second": 2 * COPY_BYTES / _best(lambda: np.copyto(target, source)),
    }


if __name__ == "__main__":
    print(json.dumps(_measure()))
