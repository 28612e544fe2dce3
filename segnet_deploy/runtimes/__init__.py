"""Runtimes behind one protocol: `open_engine(path)` gives arrays in, arrays out.

A runtime is a module with `open_file(file, threads) -> Engine`. The table names them.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segnet_deploy.errors import (
    EngineError,
    InputError,
    MissingDependencyError,
    UnsupportedModelError,
)
from segnet_deploy.optional import available
from segnet_deploy.runtimes.names import CHOICES, RUNTIMES
from segnet_deploy.types import Array

if TYPE_CHECKING:
    from segnet_deploy.runtimes.model_file import ModelFile


@dataclass(frozen=True)
class Port:
    """An input or output: its shape has None where a dimension is dynamic."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Engine(Protocol):
    """A loaded model. One instance per thread; a result is valid until the next call."""

    name: str
    device: str
    lowered: bool
    computes_half: bool  # an fp16 or bf16 file in that precision, not in fp32
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def gpu_seconds(self) -> float | None:
        """GPU time of the last run without transfers, or None where it is not known."""

    @property
    def device_bytes(self) -> int | None:
        """Memory on the GPU, or None where it is not known."""

    def run(self, x: Array) -> Array:
        """Run the first input and return the first output."""

    def run_all(self, x: Array) -> dict[str, Array]:
        """Run the first input and return every output by name."""

    def close(self) -> None:
        """Give the memory back; the engine cannot run any more."""


def open_engine(
    path: str | os.PathLike[str] | ModelFile, runtime: str = "auto", threads: int | None = None
) -> Engine:
    """Load an ONNX file; it is lowered in memory where the runtime needs that.

    `runtime` auto takes the fastest that is installed and accepts the file; it is measured once
    per file and machine (segnet_deploy.runtimes.auto_select).

    Raises InputError (no such runtime, no ONNX file), MissingDependencyError,
    UnsupportedModelError (cannot be lowered) or EngineError (the runtime refuses it).
    """
    from segnet_deploy.runtimes.auto_select import by_speed
    from segnet_deploy.runtimes.model_file import ModelFile

    if runtime not in CHOICES:
        raise InputError(f"runtime {runtime!r} is not known; expected {', '.join(CHOICES)}")
    if threads is not None and threads < 1:
        raise InputError(f"threads {threads}; expected 1 or more")
    file = path if isinstance(path, ModelFile) else ModelFile.read(path)
    if runtime != "auto":
        return _open(runtime, file, threads)
    candidates = installed()
    if not candidates:
        raise MissingDependencyError(
            'no runtime is installed; install one with: pip install "segnet-deploy[openvino]"'
        )
    if not file.suits_winograd:  # then ncnn is the slowest: 7x7 convolutions, say
        candidates.sort(key=lambda name: name == "ncnn")
    refusals = []
    for name in by_speed(file, threads, candidates):
        try:
            return _open(name, file, threads)
        except (EngineError, MissingDependencyError, UnsupportedModelError) as error:
            refusals.append(error)
    if len(refusals) == 1:
        raise refusals[0]
    raise EngineError("; ".join(map(str, refusals))) from refusals[0]


def installed() -> list[str]:
    """Return the runtimes of this machine; what is usually faster comes first."""
    names = [name for name in RUNTIMES if available(name)]
    if "onnxruntime" in names:
        from segnet_deploy.runtimes.onnxruntime import has_cuda

        if has_cuda():
            names.sort(key=lambda name: name != "onnxruntime")
    return names


def check_input(port: Port, x: Array) -> None:
    """Raise InputError where `x` does not fit the input `port`."""
    fits = len(x.shape) == len(port.shape) and all(
        want is None or want == have for want, have in zip(port.shape, x.shape, strict=True)
    )
    if not fits or x.dtype != port.dtype:
        want = "x".join("?" if size is None else str(size) for size in port.shape)
        have = "x".join(map(str, x.shape))
        raise InputError(f"input '{port.name}' got {have} {x.dtype}; expected {want} {port.dtype}")


def _open(name: str, file: ModelFile, threads: int | None) -> Engine:
    engine: Engine = importlib.import_module(RUNTIMES[name]).open_file(file, threads)
    return engine
