"""ONNX Runtime on the CPU, and on CUDA if the wheel and the driver support it.

Pool/unpool pairs run as operators of our own library (plugins/onnxruntime) if it was built,
otherwise as they are, or lowered.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.errors import EngineError, UnsupportedModelError, translated
from segnet_deploy.metadata import Metadata
from segnet_deploy.native.find import find_library
from segnet_deploy.optional import require
from segnet_deploy.runtimes.base import Engine, Port
from segnet_deploy.runtimes.dropout_masks import attach_masks
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.system import cuda_driver
from segnet_deploy.system.cpu_features import arm_computes_fp16
from segnet_deploy.types import Array

_SEVERITY_FATAL = 4


def has_cuda() -> bool:
    """Return whether this wheel has the CUDA provider and a CUDA device responds."""
    try:
        providers = require("onnxruntime", extra="onnxruntime").get_available_providers()
    except Exception:  # a broken wheel is reported when a file is opened
        return False
    return "CUDAExecutionProvider" in providers and cuda_driver.device_count() > 0


def operator_library() -> Path | None:
    """Return the library of our operators, or None if it was not built."""
    return find_library("segnet_onnxruntime")


def runs_on_cuda(library: Path) -> bool:
    """Return whether the operators in `library` were built for CUDA too."""
    found = getattr(ctypes.CDLL(str(library)), "segnet_onnxruntime_has_cuda", None)
    return found is not None and bool(found())


def open_file(file: ModelFile, threads: int | None, operators: bool | None = None) -> OrtEngine:
    """Load `file` with our operators, or unchanged, or lowered if ONNX Runtime rejects that.

    `operators` False does not use our library; True raises EngineError if it cannot be used.
    """
    engine = OrtEngine(file, threads, operators)
    attach_masks(engine, Metadata.from_props(file.props))
    return engine


def open_witness(file: ModelFile, threads: int | None = None) -> OrtEngine:
    """Load `file` to judge other files by: with ONNX Runtime's own operators, in no rewrite.

    What they reject is run by ONNX's definition of MaxUnpool (passes/scatter_unpooling.py). Only
    the plugin's operators, which ONNX Runtime does not have, are those of our library. Raises
    EngineError.
    """
    engine = _Witness(file, threads, operators=file.has_plugin)
    engine.metadata = Metadata.from_props(file.props)
    attach_masks(engine, engine.metadata)
    return engine


class OrtEngine(Engine):
    """An InferenceSession."""

    name = "onnxruntime"

    def __init__(self, file: ModelFile, threads: int | None, operators: bool | None = None):
        self._file = file
        self._threads = threads
        self._session: Any = None
        self._profile: Path | None = None
        self.operators = self.lowered = False
        if file.precision == "bf16" and not has_cuda():
            raise EngineError(
                f"onnxruntime cannot run {file.path}: it has no bf16 convolution on CPUs; use "
                "--runtime openvino, or export with --precision fp16"
            )
        if operators is not False and self._start_with_operators(operators is True):
            return
        self.lowered = file.has_plugin
        if not self.lowered:
            try:
                self._start(*self.source())
            except EngineError:
                if not file.has_unpool:
                    raise
                self.lowered = True
        if self.lowered:
            self._start(*self.source())

    @property
    def computes_half(self) -> bool:
        """Whether halves are computed: the CPU provider casts to fp32, except fp16 on ARM."""
        on_arm = self._file.precision == "fp16" and arm_computes_fp16()
        return bool(self.device == "cuda" or on_arm)

    def run(self, x: Array) -> Array:
        """Run the first input and return the first output."""
        return self._infer([self.outputs[0].name], self.feed(x))[0]

    def run_all(self, x: Array) -> dict[str, Array]:
        """Run the first input and return every output by name."""
        names = [port.name for port in self.outputs]
        return dict(zip(names, self._infer(names, self.feed(x)), strict=True))

    def profile(self, x: Array, runs: int) -> list[dict[str, Any]]:
        """Return each node's name, operator and median seconds, from a separate session."""
        source = self.source()
        with tempfile.TemporaryDirectory() as folder:
            self._profile = Path(folder) / "profile"
            try:
                self._start(*source)
                for _ in range(runs + 1):  # the first allocates
                    self.run(x)
                events = json.loads(Path(self._session.end_profiling()).read_bytes())
            finally:
                self._profile = None
        self._start(*source)
        return _node_times(events)

    def close(self) -> None:
        """Release the session."""
        self._session = None

    def _start_with_operators(self, needed: bool) -> bool:
        """Start with our operators; return whether the file has pairs and they can be used."""
        library = operator_library()
        if not (self._file.has_unpool or self._file.has_plugin):
            return False
        if library is None and needed:
            raise EngineError(
                "the operators for ONNX Runtime were not built: install a C++ compiler, then "
                "segnet-deploy again"
            )
        if library is None:
            return False
        if has_cuda() and not needed and not runs_on_cuda(library):
            return False  # the pairs would run on the CPU, with copies around them
        self.operators = True
        try:
            self._start(*self.source())
        except (UnsupportedModelError, EngineError):
            if needed:
                raise
            self.operators = False
        return self.operators

    def source(self) -> tuple[Path | bytes, Path | None]:
        """Return the model that the session loads, and the operator library that it needs."""
        if self.operators:
            return self._file.with_onnxruntime_ops(), operator_library()
        return (self._file.lowered() if self.lowered else self._file.path), None

    def _start(self, model: Path | bytes, library: Path | None = None) -> None:
        ort = require("onnxruntime", extra="onnxruntime")
        options = ort.SessionOptions()
        options.log_severity_level = _SEVERITY_FATAL
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        if self._profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(self._profile)
        providers = ["CPUExecutionProvider"]
        if has_cuda():
            providers.insert(0, "CUDAExecutionProvider")
        source = model if isinstance(model, bytes) else str(model)
        with self._translated("cannot load"):
            if library is not None:
                options.register_custom_ops_library(str(library))
            session = ort.InferenceSession(source, options, providers=providers)
        self._session = session
        self.device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"
        self.inputs = tuple(_port(value) for value in session.get_inputs())
        self.outputs = tuple(_port(value) for value in session.get_outputs())

    def _infer(self, names: list[str], feed: dict[str, Array]) -> list[Array]:
        if self._session is None:
            raise EngineError(f"{self._file.path} is closed; open it again")
        try:
            with self._translated("cannot run"):
                return list(self._session.run(names, feed))
        except EngineError:
            if self.lowered or not self._file.has_unpool:
                raise
        # Odd sizes are rejected only when MaxUnpool runs: continue with the lowered form.
        self.lowered, self.operators = True, False
        self._start(*self.source())
        return self._infer(names, feed)

    def _translated(self, what: str) -> AbstractContextManager[None]:
        # ONNX Runtime's error types have no common base.
        return translated(
            EngineError,
            f"onnxruntime {what} {self._file.path}",
            "try another --runtime, or export with --form lowered",
        )


class _Witness(OrtEngine):
    """An engine whose form for what ONNX Runtime rejects is not that of our passes."""

    def source(self) -> tuple[Path | bytes, Path | None]:
        if self.lowered and not self._file.has_plugin:
            return self._file.by_definition(), None
        return super().source()


def _node_times(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read the events of ONNX Runtime's profile, in microseconds, without the first run."""
    end = "_kernel_time"
    times: dict[str, list[float]] = {}
    operators: dict[str, str] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(end):
            name = event["name"][: -len(end)]
            times.setdefault(name, []).append(event["dur"] / 1e6)
            operators[name] = event["args"]["op_name"]
    return [
        {"name": name, "op": operators[name], "seconds": statistics.median(values[1:])}
        for name, values in times.items()
        if len(values) > 1
    ]


def _port(value: Any) -> Port:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Port(value.name, shape, _dtype(value.type))


def _dtype(name: str) -> np.dtype[Any]:
    inner = name.removeprefix("tensor(").removesuffix(")")
    numpy_name = {"float": "float32", "double": "float64"}.get(inner, inner)
    try:
        return np.dtype(numpy_name)
    except TypeError as error:
        raise EngineError(f"onnxruntime has an input or output of type {name}") from error
