"""The child process of `runtime="auto"`: seconds per call of one file in several runtimes.

A separate process, so that the runtimes that are not chosen add nothing to the caller's memory.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence

import numpy as np

from segnet_deploy import runtimes
from segnet_deploy.runtimes.base import Engine
from segnet_deploy.system.child_process import serve
from segnet_deploy.types import DEFAULT_SIZE

ROUNDS, SECONDS = 5, 3.0  # of interleaved calls, whichever ends first


def measure(
    path: str | os.PathLike[str], threads: int | None, names: Sequence[str]
) -> dict[str, float | None]:
    """Return each runtime's minimum seconds per call; None if it cannot run the file."""
    engines: dict[str, Engine] = {}
    minimum: dict[str, float | None] = dict.fromkeys(names)
    for name in names:
        with contextlib.suppress(Exception):  # whatever one runtime raises, measure the others
            engine = runtimes.open(path, name, threads)
            engine.run(np.zeros(_shape(engine), engine.inputs[0].dtype))
            engines[name] = engine
    end = time.perf_counter() + SECONDS
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            seconds = _call_seconds(engine)
            minimum[name] = min(seconds, minimum[name] or seconds)
        if time.perf_counter() > end:
            break
    return minimum


def _call_seconds(engine: Engine) -> float:
    x = np.zeros(_shape(engine), engine.inputs[0].dtype)
    started = time.perf_counter()
    engine.run(x)
    return time.perf_counter() - started


def _shape(engine: Engine) -> tuple[int, ...]:
    """Return an input shape: one image of the file's size, or the default size if dynamic."""
    port = engine.inputs[0]
    frame = port.dtype == "uint8"
    default = (1, *DEFAULT_SIZE, 3) if frame else (1, 3, *DEFAULT_SIZE)
    return tuple(d if s is None else s for s, d in zip(port.shape, default, strict=True))


if __name__ == "__main__":
    sys.exit(serve({"measure": measure}))
