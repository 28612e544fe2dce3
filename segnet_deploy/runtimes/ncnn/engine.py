"""ncnn on the CPU, fp32 and int8: its convolutions, with the pool and unpool of this package."""

from __future__ import annotations

import gc
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import EngineError, UnsupportedModelError
from segnet_deploy.optional import require
from segnet_deploy.runtimes.base import Engine, Port, check_input
from segnet_deploy.runtimes.model_file import ModelFile, load_model, release
from segnet_deploy.runtimes.ncnn.execution import Execution
from segnet_deploy.runtimes.ncnn.profile import Seconds, TimedExecution
from segnet_deploy.runtimes.ncnn.program import Net
from segnet_deploy.runtimes.ncnn.translate import to_program
from segnet_deploy.system.cpus import usable_cpus
from segnet_deploy.system.memory import trim_heap
from segnet_deploy.types import Array

_OFF = (
    "use_vulkan_compute",
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
    "use_winograd63_convolution",
)
# Of the Winograd variants only F(2,3) gives equal values for equal neighbourhoods.
_OFF_FOR_TIES = ("use_winograd43_convolution",)


def open_file(file: ModelFile, threads: int | None) -> NcnnEngine:
    """Translate and load `file`. Raises EngineError that names a node ncnn does not support."""
    return NcnnEngine(file, threads)


class NcnnEngine(Engine):
    """ncnn nets with steps on the host between them; images run one after the other."""

    name = "ncnn"

    def __init__(self, file: ModelFile, threads: int | None):
        self._path: Path = file.path
        self._ncnn = require("ncnn", extra="ncnn")
        model = load_model(file.path)
        self.inputs = tuple(_port(value) for value in model.graph.inputs)
        self.outputs = tuple(_port(value) for value in model.graph.outputs)
        try:
            self._program = to_program(model)
        except UnsupportedModelError as error:
            raise self._error("does not support", error) from error
        release(model)
        self._threads = threads or min(self._ncnn.Option().num_threads, len(usable_cpus()))
        # Blobs and workspaces; with a pool for each net, as ncnn has, memory is a third larger.
        pools = (self._ncnn.PoolAllocator(), self._ncnn.PoolAllocator())
        self._nets = [self._load(net, *pools) for net in self._program.nets]
        self._pools = pools  # released after the nets, which use them
        gc.collect()
        trim_heap()

    def run(self, x: Array) -> Array:
        """Run the first input and return the first output."""
        name = self.outputs[0].name
        return self._infer(x, [name])[name]

    def run_all(self, x: Array) -> dict[str, Array]:
        """Run the first input and return every output by name."""
        return self._infer(x, [port.name for port in self.outputs])

    def profile(self, x: Array, runs: int) -> list[dict[str, Any]]:
        """Return name, op and median seconds of each host step, and of the nets between them.

        ncnn does not report the time of a layer: op `net` is the time to compute one blob.
        """
        times: dict[tuple[str, str], list[float]] = {}
        for run in range(runs + 1):  # the first allocates
            seconds: Seconds = {}
            self._infer(x, [self.outputs[0].name], partial(TimedExecution, seconds))
            for step, value in seconds.items() if run else ():
                times.setdefault(step, []).append(value)
        return [
            {"name": name, "op": op, "seconds": statistics.median(values)}
            for (name, op), values in times.items()
        ]

    def close(self) -> None:
        """Release the nets and their memory."""
        self._nets = []
        for pool in self._pools:
            pool.clear()

    def _load(self, net: Net, blobs: Any, workspaces: Any) -> Any:
        """Return ncnn's net, which uses these pools, and release the weights of `net`."""
        loaded = self._ncnn.Net()
        loaded.opt.blob_allocator, loaded.opt.workspace_allocator = blobs, workspaces
        for name in (*_OFF, *(_OFF_FOR_TIES if net.keeps_ties else ())):
            if hasattr(loaded.opt, name):
                setattr(loaded.opt, name, False)
        loaded.opt.num_threads = self._threads
        with tempfile.TemporaryDirectory() as folder:
            param, weights = Path(folder) / "net.param", Path(folder) / "net.bin"
            try:
                param.write_text(net.param, "utf-8")
                with weights.open("wb") as stream:
                    for array in net.weights:
                        stream.write(array.data)
            except OSError as error:
                raise self._error("cannot write its net of", error.strerror or error) from error
            net.weights.clear()
            if loaded.load_param(str(param)) or loaded.load_model(str(weights)):
                raise self._error("cannot load", "the translated net is rejected")
        return loaded

    def _infer(
        self, x: Array, names: list[str], start: Callable[..., Execution] = Execution
    ) -> dict[str, Array]:
        if not self._nets:
            raise EngineError(f"{self._path} is closed; open it again")
        check_input(self.inputs[0], x)
        if not len(x):
            raise self._error("cannot run", "the batch is empty")
        try:
            parts = (self._nets, self._ncnn.Mat, self._program, self._threads)
            images = [start(*parts).run(image, names) for image in x]
        except (EngineError, RuntimeError, ValueError) as error:  # ncnn's binding, numpy's shapes
            raise self._error("cannot run", error) from error
        if len(images) == 1:
            return {name: value[None] for name, value in images[0].items()}
        return {name: np.stack([image[name] for image in images]) for name in names}

    def _error(self, what: str, why: object) -> EngineError:
        return EngineError(f"ncnn {what} {self._path}: {why}; try --runtime openvino")


def _port(value: ir.Value) -> Port:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape or ())
    if value.dtype is None:
        raise EngineError(f"ncnn cannot load a model with '{value.name}' of unknown type")
    return Port(str(value.name), shape, value.dtype.numpy())
