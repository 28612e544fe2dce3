"""A TensorRT or TensorRT-RTX engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.errors import EngineError
from segnet_deploy.passes.sampling_names import is_mask
from segnet_deploy.runtimes.base import Engine, Port
from segnet_deploy.runtimes.tensorrt.cuda_objects import DeviceBuffer, call, spin_wait
from segnet_deploy.runtimes.tensorrt.device_arrays import DeviceArray, device_array
from segnet_deploy.runtimes.tensorrt.library import choose, load
from segnet_deploy.runtimes.tensorrt.logger import make_logger
from segnet_deploy.runtimes.tensorrt.plan import Plan
from segnet_deploy.runtimes.tensorrt.plugin_library import find_plugin, load_plugin
from segnet_deploy.runtimes.tensorrt.session import Session
from segnet_deploy.runtimes.tensorrt.shape_context import ShapeContext, captures_itself
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
    """A deserialised engine, with a session and an execution context for each input shape.

    The contexts share their activation memory: one input runs at a time.
    """

    device = "cuda"

    def __init__(self, plan: Plan):
        self._plan = plan
        self.metadata = replace(plan.metadata, form=plan.sidecar.get("form", "unknown"))
        self.name = plan.kind
        self.lowered = plan.sidecar.get("form") == "lowered"
        self._sessions: dict[tuple[int, ...], Session] = {}
        self._contexts: dict[tuple[int, ...], ShapeContext] = {}
        self._last: Session | None = None
        library = load(choose(plan.kind, cross=False))
        properties = call("cudaGetDeviceProperties", call("cudaGetDevice"))
        plan.check(library.version, (properties.major, properties.minor))
        plugin = plan.plugin(find_plugin())
        trt = self._trt = library.trt
        self._log = make_logger(trt)
        self._runtime: Any = trt.Runtime(self._log)
        # The plan contains code: the sidecar says so, and the plan has the sidecar's hash.
        if plan.embedded or plan.version_compatible:
            self._runtime.engine_host_code_allowed = True
        if plugin is not None:
            load_plugin(self._runtime.get_plugin_registry(), str(plugin), self._log)
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan.path.read_bytes())
        if self._engine is None:
            raise self._error("cannot be deserialised")
        self._memory: list[DeviceBuffer] = []
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
        """Bytes on the GPU: weights as built, activations, and the sessions' buffers."""
        own = sum(session.device_bytes for session in self._sessions.values())
        weights = self._plan.sidecar.get("weights_bytes")
        activations = sum(buffer.nbytes for buffer in self._memory)
        return own + activations + (weights if isinstance(weights, int) else 0)

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
        shape = device_array(x).shape
        return self._session(shape).run_on_device({self.inputs[0].name: x})

    def profile(self, x: Array, runs: int) -> list[dict[str, Any]]:
        """Return each layer's name and median seconds, by TensorRT's profiler, without a graph.

        Its times add up to more than a run's: the profiler waits between layers.
        """
        from segnet_deploy.runtimes.tensorrt.layer_profiler import layer_times

        context = self._open_context(x.shape, graphs=False)
        session = self._open_session(context, x.shape, capture=False)
        try:
            session.run(self.feed(x))
            return layer_times(self._trt, context.context, session.enqueue_directly, runs)
        finally:
            session.close()
            context.close()

    @property
    def switches(self) -> dict[str, Any]:
        """What trtexec 10 and 11 set differently, as used in the last run."""
        graph, error = self._graph_state()
        return {
            "cuda_graph": graph,
            **({} if error is None else {"cuda_graph_error": error}),
            "transfers": "infer and total: with, pinned memory; gpu: without",
            "spin_wait": spin_wait(),
        }

    def close(self) -> None:
        """Free sessions, contexts and engine."""
        for shape, session in self._sessions.items():
            session.close()
            self._contexts[shape].close()
        self._sessions.clear()
        self._contexts.clear()
        while self._memory:
            self._memory.pop().close()
        self._last = self._engine = self._runtime = None

    def _session(self, shape: tuple[int, ...]) -> Session:
        if shape not in self._sessions:
            context = self._open_context(shape)
            capture = not captures_itself(self._trt)
            self._sessions[shape] = self._open_session(context, shape, capture)
            self._contexts[shape] = context
        self._last = self._sessions[shape]
        return self._last

    def _open_context(self, shape: tuple[int, ...], graphs: bool = True) -> ShapeContext:
        if self._engine is None:
            raise EngineError(f"{self._plan.path} is closed; open it again")
        first = (self.inputs[0].name, shape)
        return ShapeContext(self._trt, self._engine, self._activations, first, self._error, graphs)

    def _activations(self, nbytes: int) -> DeviceBuffer:
        """Return activation memory of at least `nbytes`: the latest is the largest.

        Smaller ones stay, since captured graphs use them.
        """
        if not self._memory or self._memory[-1].nbytes < nbytes:
            self._memory.append(DeviceBuffer(nbytes))
        return self._memory[-1]

    def _open_session(
        self, context: ShapeContext, shape: tuple[int, ...], capture: bool
    ) -> Session:
        first, *masks = self.inputs  # masks are static
        inputs = [Port(first.name, shape, first.dtype), *masks]
        outputs = [Port(p.name, context.shape_of(p.name), p.dtype) for p in self.outputs]
        return Session(context, inputs, outputs, capture)

    def _graph_state(self) -> tuple[bool, str | None]:
        """Return whether the last run was a CUDA graph's, and why not if that is known."""
        if self._last is None:
            return False, None
        shape = tuple(size or 0 for size in self._last.inputs[0].shape)
        context = self._contexts[shape]
        if not context.captures:
            return self._last.captured, self._last.capture_error
        if context.refuses_capture(int(self._last.stream)):
            return False, "TensorRT-RTX cannot capture this engine"
        return True, None

    def _port(self, name: str) -> Port:
        shape = tuple(None if size < 0 else size for size in self._engine.get_tensor_shape(name))
        dtype = str(self._engine.get_tensor_dtype(name)).rpartition(".")[2]
        if dtype not in _DTYPES:
            raise self._error(f"has '{name}' of type {dtype}, which numpy does not support")
        return Port(name, shape, np.dtype(_DTYPES[dtype]))

    def _error(self, what: str) -> EngineError:
        reason = self._log.reason()
        self._log.errors.clear()  # a later failure has its own reason
        return EngineError(
            f"{self._plan.path} {what}: {reason}; build it again: {self._plan.rebuild_command()}"
        )
