"""Ceilings of this CPU for the report's roofline: numpy's matrix product and copy.

They need no compiler and no other library, so a device can measure them. The ceilings of
compiled loops and of the largest GEMMs of PyTorch and ONNX Runtime, which can be higher, are
measured by benchmarks/harness/ceilings.py. Source: Williams, Waterman and Patterson, Roofline,
CACM 52(4), 2009.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from segnet_deploy.errors import EngineError
from segnet_deploy.system.child_process import ChildProcess, serve
from segnet_deploy.system.cpus import default_threads

SIDE = 2048  # of the square matrices, 50 MB in all
COPY_BYTES = 256 << 20
ROUNDS = 5
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def measure_ceilings(threads: int | None = None) -> dict[str, float]:
    """Return this CPU's `macs_per_second` (fp32) and `bytes_per_second` (read and written).

    The best of several matrix products on `threads` threads (None: all usable CPUs) and of
    several copies on one thread, in a separate process. Takes seconds. Raises EngineError.
    """
    count = str(threads or default_threads())
    environment = dict.fromkeys(THREAD_VARIABLES, count)
    try:
        with ChildProcess("segnet_deploy.bench.roofline", environment=environment) as child:
            ceilings: dict[str, float] = child.ask("measure")
    except EngineError as error:
        raise EngineError(f"the ceilings cannot be measured: {error}") from error
    return ceilings


def measure() -> dict[str, float]:
    """Measure the ceilings in this process; its environment sets the number of threads."""
    import numpy as np

    a, b = np.ones((SIDE, SIDE), np.float32), np.ones((SIDE, SIDE), np.float32)
    out = np.empty_like(a)
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    return {
        "macs_per_second": SIDE**3 / _minimum_seconds(lambda: np.matmul(a, b, out=out)),
        "bytes_per_second": 2 * COPY_BYTES / _minimum_seconds(lambda: np.copyto(target, source)),
    }


def _minimum_seconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return min(times)


if __name__ == "__main__":
    sys.exit(serve({"measure": measure}))
