"""A TensorRT or TensorRT-RTX engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.errors import EngineError
from segnet_deploy.passes.sampling_names import is_mask
from segnet_deploy.runtimes.base import Engine, Port
from segnet_deploy.runtimes.tensorrt.cuda_objects import call, spin_wait
from segnet_deploy.runtimes.tensorrt.device_arrays import DeviceArray, device_array
from segnet_deploy.runtimes.tensorrt.library import choose, load
from segnet_deploy.runtimes.tensorrt.logger import make_logger
from segnet_deploy.runtimes.tensorrt.plan import Plan
from segnet_deploy.runtimes.tensorrt.plugin_library import find_plugin
from segnet_deploy.runtimes.tensorrt.session import Session
from segnet_deploy.types import Array

_DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32", "INT64": "int64"}
_DTYPES |= {"UINT8": "uint8", "INT8": "int8", "BOOL": "bool"}


def open_file(path: Path, threads: int | None = None) -> TensorRtEngine:
    """Load an engine file; `threads` has no effect on a GPU.

    Raises InputError, MissingDependencyError, EngineError, or StaleEngineError for an engine of
    another version or GPU.
    """
    return TensorRtEngine(Plan.read(path))


class TensorRtEngine(Engine):
    """A deserialised engine, one execution context and one session per input shape."""

    device = "cuda"

    def __init__(self, plan: Plan):
        self._plan = plan
        self.metadata = replace(plan.metadata, form=plan.sidecar.get("form", "unknown"))
        self.name = plan.kind
        self.lowered = plan.sidecar.get("form") == "lowered"
        self._sessions: dict[tuple[int, ...], Session] = {}
        self._last: Session | None = None
        library = load(choose(plan.kind, cross=False))
        properties = call("cudaGetDeviceProperties", call("cudaGetDevice"))
        plan.check(library.version, (properties.major, properties.minor))
        plugin = plan.plugin(find_plugin())
        trt = self._trt = library.trt
        self._log = make_logger(trt)
        self._runtime: Any = trt.Runtime(self._log)
        if plan.embedded:  # the sidecar says so, and the plan has the sidecar's hash
            self._runtime.engine_host_code_allowed = True
        if plugin is not None:
            self._runtime.get_plugin_registry().load_library(str(plugin))
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan.path.read_bytes())
        if self._engine is None:
            raise self._error("cannot be deserialised")
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise self._error("cannot create an execution context")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        reads = [self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT for n in names]
        inputs = [self._port(n) for n, r in zip(names, reads, strict=True) if r]
        self.inputs = tuple(sorted(inputs, key=lambda port: is_mask(port.name)))
        outputs = [self._port(n) for n, r in zip(names, reads, strict=True) if not r]
        self.outputs = tuple(sorted(outputs, key=lambda p: p.name != self.metadata.label_output))

    @property
    def computes_half(self) -> bool:
        return True

    @property
    def gpu_seconds(self) -> float | None:
        """GPU time of the last run, without transfers."""
        return None if self._last is None else self._last.gpu_seconds

    @property
    def device_bytes(self) -> int:
        """Bytes on the GPU: weights and activations as built, and the sessions' buffers."""
        own = sum(session.device_bytes for session in self._sessions.values())
        built = [self._plan.sidecar.get(f"{part}_bytes") for part in ("activation", "weights")]
        return own + sum(size for size in built if isinstance(size, int))

    def run_all(self, x: Array) -> dict[str, Array]:
        """Run the first input and return every output by name."""
        feed = self.feed(x)
        return self._session(x.shape).run(feed)

    def run_on_device(self, x: Any) -> dict[str, DeviceArray]:
        """Run an array on the GPU (CUDA Array Interface or DLPack); the outputs stay there."""
        if self.masks is not None:
            raise EngineError(
                f"{self._plan.path} samples its dropout, whose masks are made on the host; use "
                "run_all with an array on the host"
            )
        array = device_array(x)
        return self._session(array.shape).run_on_device({self.inputs[0].name: array})

    def profile(self, x: Array, runs: int) -> list[dict[str, Any]]:
        """Return each layer's name and median seconds, by TensorRT's profiler, without a graph.

        Its times add up to more than a run's: the profiler waits between layers.
        """
        from segnet_deploy.runtimes.tensorrt.layer_profiler import layer_times

        session = self._session(x.shape)
        session.run(self.feed(x))
        return layer_times(self._trt, self._context, session.enqueue_directly, runs)

    @property
    def switches(self) -> dict[str, Any]:
        """What trtexec 10 and 11 set differently, as used in the last run."""
        graph = False if self._last is None else self._last.captured
        return {
            "cuda_graph": graph,
            "transfers": "infer and total: with, pinned memory; gpu: without",
            "spin_wait": spin_wait(),
        }

    def close(self) -> None:
        """Free sessions, context and engine."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self._last = self._context = self._engine = self._runtime = None

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Enqueue the engine on the stream: this is the sessions' executable."""
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise self._error(f"rejects the address for '{name}'")
        if not self._context.execute_async_v3(stream):
            raise self._error("cannot be run")

    def _session(self, shape: tuple[int, ...]) -> Session:
        if self._context is None:
            raise EngineError(f"{self._plan.path} is closed; open it again")
        port = self.inputs[0]
        if self._last is not None and self._sessions.get(shape) is self._last:
            return self._last
        if not self._context.set_input_shape(port.name, shape):
            raise self._error(f"rejects an input of shape {shape}")
        if shape not in self._sessions:
            outputs = [
                Port(p.name, tuple(self._context.get_tensor_shape(p.name)), p.dtype)
                for p in self.outputs
            ]
            inputs = [Port(port.name, shape, port.dtype), *self.inputs[1:]]  # masks are static
            self._sessions[shape] = Session(self, inputs, outputs)
        self._last = self._sessions[shape]
        return self._last

    def _port(self, name: str) -> Port:
        shape = tuple(None if size < 0 else size for size in self._engine.get_tensor_shape(name))
        dtype = str(self._engine.get_tensor_dtype(name)).rpartition(".")[2]
        if dtype not in _DTYPES:
            raise self._error(f"has '{name}' of type {dtype}, which numpy does not support")
        return Port(name, shape, np.dtype(_DTYPES[dtype]))

    def _error(self, what: str) -> EngineError:
        return EngineError(
            f"{self._plan.path} {what}: {self._log.reason()}; build it again: "
            f"{self._plan.rebuild_command()}"
        )
