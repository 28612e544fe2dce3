"""What a runtime is: the Engine protocol and the one table of runtimes.

A runtime is a module with `open_file(file, threads) -> Engine`; a new one is a row in RUNTIMES.
Importing this module loads no runtime and no numpy, so that every `--help` can list the names.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.metadata import Metadata
from segnet_deploy.types import Array

if TYPE_CHECKING:
    import numpy as np

    from segnet_deploy.runtimes.dropout_masks import DropoutMasks


@dataclass(frozen=True)
class Runtime:
    """One row of the table: which module opens which files.

    `library` is the Python package that must be importable, `suffixes` are the files that it
    loads. A runtime that `reads_graphs` loads ONNX files; others load engines that were built.
    """

    module: str
    library: str
    suffixes: tuple[str, ...] = (".onnx",)

    @property
    def reads_graphs(self) -> bool:
        return ".onnx" in self.suffixes


# Runtimes for ONNX files come first, the fastest first (the full SegNet in fp32 on CPUs).
RUNTIMES = {
    "ncnn": Runtime("segnet_deploy.runtimes.ncnn.engine", "ncnn"),
    "openvino": Runtime("segnet_deploy.runtimes.openvino", "openvino"),
    "onnxruntime": Runtime("segnet_deploy.runtimes.onnxruntime", "onnxruntime"),
    "tensorrt": Runtime(
        "segnet_deploy.runtimes.tensorrt.engine", "tensorrt", (".trt", ".engine", ".plan")
    ),
}
ONNX_RUNTIMES = tuple(name for name, runtime in RUNTIMES.items() if runtime.reads_graphs)
CHOICES = ("auto", *ONNX_RUNTIMES)
ENGINE_SUFFIXES = RUNTIMES["tensorrt"].suffixes
# Winograd convolutions can break ties at the edges of flat areas (docs/reference/runtimes.md).
WINOGRAD = ("ncnn",)


def is_server(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is the address of a model on a server, grpc://HOST:PORT/MODEL."""
    return str(path).startswith("grpc://")


def is_engine_file(path: str | os.PathLike[str]) -> bool:
    """Return whether the suffix of `path` is that of a built engine, not of an ONNX file."""
    return Path(path).suffix.lower() in ENGINE_SUFFIXES


class StaleEngineError(EngineError):
    """An engine file cannot run here; `can_rebuild` if its ONNX file is next to it."""

    def __init__(self, message: str, can_rebuild: bool = False):
        super().__init__(message)
        self.can_rebuild = can_rebuild


class ServerUnavailableError(EngineError):
    """A server does not answer; the same call may succeed later."""


@dataclass(frozen=True)
class Port:
    """An input or output of a model; a dynamic dimension of its shape is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]

    def describe(self) -> str:
        """Return its shape and type, such as 1x3x?x? float32."""
        shape = "x".join("?" if size is None else str(size) for size in self.shape)
        return f"{shape} {self.dtype}"


class Engine(ABC):
    """A loaded model. One instance per thread; a result is valid until the next call.

    The first of `outputs` is the one with the labels or their logits.
    `device` is cpu or cuda. `lowered` if the pool/unpool pairs were rewritten in memory as plain
    operators. `metadata` is what the file records about itself. `masks` fills the inputs after the
    first in a file that samples its dropout; it is None for other files.
    """

    name: str
    device: str = "cpu"
    lowered: bool = False
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Metadata = Metadata()
    masks: DropoutMasks | None = None

    @property
    def computes_half(self) -> bool:
        """Whether an fp16 or bf16 file is computed in that precision, not in fp32."""
        return False

    @property
    def gpu_seconds(self) -> float | None:
        """GPU time of the last run without transfers, or None if unknown."""
        return None

    @property
    def device_bytes(self) -> int | None:
        """Memory on the GPU, or None if unknown."""
        return None

    @property
    def switches(self) -> dict[str, Any] | None:
        """Settings of the runtime that belong next to a latency, or None."""
        return None

    @abstractmethod
    def run_all(self, x: Array) -> dict[str, Array]:
        """Run the first input and return every output by name.

        Raises InputError if `x` does not fit the input, EngineError if the runtime fails.
        """

    def run(self, x: Array) -> Array:
        """Run the first input and return the first output; errors as of `run_all`."""
        return self.run_all(x)[self.outputs[0].name]

    def feed(self, x: Array) -> dict[str, Array]:
        """Return every input by name: `x`, and the masks of the next frame if the file has masks.

        Raises InputError if `x` does not fit the first input.
        """
        check_input(self.inputs[0], x)
        feed = {self.inputs[0].name: x}
        return feed if self.masks is None else feed | self.masks.next()

    def profile(self, x: Array, runs: int) -> list[dict[str, Any]] | None:
        """Return `name`, `op` and median `seconds` of each layer over `runs`.

        None if the runtime does not report them.
        """
        return None

    def close(self) -> None:  # noqa: B027 - nothing to release is the default
        """Release the memory; the engine cannot run afterwards."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_input(port: Port, x: Array) -> None:
    """Raise InputError if `x` does not fit the input `port`."""
    fits = len(x.shape) == len(port.shape) and all(
        want is None or want == have for want, have in zip(port.shape, x.shape, strict=True)
    )
    if not fits or x.dtype != port.dtype:
        have = "x".join(map(str, x.shape))
        raise InputError(f"input '{port.name}' got {have} {x.dtype}; expected {port.describe()}")
