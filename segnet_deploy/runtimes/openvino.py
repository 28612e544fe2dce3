"""OpenVINO on the CPU: fp32; int8 files in int8; fp16 and bf16 if the CPU computes them."""

from __future__ import annotations

import gc
import statistics
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.errors import EngineError, UnsupportedModelError, translated
from segnet_deploy.optional import require
from segnet_deploy.runtimes.base import Engine, Port
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.system.memory import trim_heap
from segnet_deploy.types import Array

_ADVICE = "try --runtime onnxruntime"
_HALVES = {"fp16": ("FP16", "f16"), "bf16": ("BF16", "bf16")}  # capability, hint


def open_file(file: ModelFile, threads: int | None) -> OpenVinoEngine:
    """Load `file`; OpenVINO has no MaxUnpool, so pairs are lowered first."""
    return OpenVinoEngine(file, threads)


class OpenVinoEngine(Engine):
    """A compiled model and one inference request."""

    name = "openvino"
    _computes_half = False

    def __init__(self, file: ModelFile, threads: int | None):
        self._path: Path = file.path
        self._file, self._threads = file, threads
        self.lowered = file.has_unpool or file.has_plugin
        self._compile(profiling=False)

    def _compile(self, profiling: bool) -> None:
        file, threads = self._file, self._threads
        openvino = require("openvino", extra="openvino")
        capability, hint = _HALVES.get(file.precision, ("", ""))
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        if profiling:
            config["PERF_COUNT"] = True
        try:
            source = file.lowered() if self.lowered else str(file.path)
        except UnsupportedModelError as error:
            raise EngineError(
                f"openvino does not support {file.path}: {error}; {_ADVICE}"
            ) from error
        with self._translated("cannot load"):
            core = openvino.Core()
            capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            self._computes_half = capability in capabilities
            # Without a hint OpenVINO may compute an fp32 file in bf16.
            config["INFERENCE_PRECISION_HINT"] = hint if self._computes_half else "f32"
            model = core.read_model(source)
            del source  # a copy of the weights; its graph has reference cycles
            gc.collect()
            trim_heap()
            compiled = core.compile_model(model, "CPU", config)
            del model
            trim_heap()
            self._request: Any = compiled.create_infer_request()
            self.inputs = tuple(_port(port) for port in compiled.inputs)
            named = zip(compiled.outputs, file.outputs, strict=True)
            self.outputs = tuple(_port(port, name) for port, name in named)

    @property
    def computes_half(self) -> bool:
        return self._computes_half

    def run(self, x: Array) -> Array:
        """Run the first input and return the first output."""
        return self._infer(x)[0]

    def run_all(self, x: Array) -> dict[str, Array]:
        """Run the first input and return every output by name."""
        return dict(zip((port.name for port in self.outputs), self._infer(x), strict=True))

    def profile(self, x: Array, runs: int) -> list[dict[str, Any]]:
        """Return each executed node's name, type and median seconds, compiled again for that."""
        self._compile(profiling=True)
        times: dict[tuple[str, str], list[float]] = {}
        for run in range(runs + 1):  # the first allocates
            self._infer(x)
            for node in self._request.profiling_info if run else ():
                if "EXECUTED" in str(node.status):
                    key = (node.node_name, node.node_type)
                    times.setdefault(key, []).append(node.real_time.total_seconds())
        self._compile(profiling=False)
        return [
            {"name": name, "op": op, "seconds": statistics.median(values)}
            for (name, op), values in times.items()
        ]

    def close(self) -> None:
        """Release the request and with it the compiled model."""
        self._request = None

    def _infer(self, x: Array) -> list[Array]:
        if self._request is None:
            raise EngineError(f"{self._path} is closed; open it again")
        given = self.feed(x)
        feed = {i: np.ascontiguousarray(given[port.name]) for i, port in enumerate(self.inputs)}
        with self._translated("cannot run"):
            results = self._request.infer(feed, share_inputs=True, share_outputs=True)
            arrays = [results[index] for index in range(len(self.outputs))]
        for port, array in zip(self.outputs, arrays, strict=True):
            if not array.size:  # OpenVINO does not report a size that an operator cannot have
                raise EngineError(
                    f"openvino cannot run {self._path}: '{port.name}' is {array.shape} for an "
                    f"input {x.shape}, a size that the model does not support; {_ADVICE}"
                )
        return arrays

    def _translated(self, what: str) -> AbstractContextManager[None]:
        # OpenVINO raises RuntimeError and types of its own.
        return translated(EngineError, f"openvino {what} {self._path}", _ADVICE)


def _port(port: Any, name: str | None = None) -> Port:
    """Describe `port`; it has several names if Identity nodes were removed."""
    if name is None:
        names = port.get_names()
        name = sorted(names)[0] if names else port.get_node().get_friendly_name()
    shape = tuple(size.get_length() if size.is_static else None for size in port.partial_shape)
    return Port(name, shape, np.dtype(port.get_element_type().to_dtype()))
