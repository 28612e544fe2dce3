"""TensorRT's execution context for one input shape: what a session runs.

A captured CUDA graph reads the memory and the state of its context, so that each session has a
context of its own. Nothing here has run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segnet_deploy.errors import EngineError
from segnet_deploy.runtimes.tensorrt.cuda_objects import DeviceBuffer


class ShapeContext:
    """An execution context whose first input has a fixed shape, in activation memory of the caller.

    `memory` returns that memory for a number of bytes, as many as the shape needs; contexts that
    share it must not run at the same time. `graphs` lets TensorRT-RTX
    capture CUDA graphs; it captures the kernels that it has compiled for the shape, whereas a
    capture from outside could keep the slower ones that it starts with. `error` makes an
    EngineError with the reason from TensorRT's log.
    """

    def __init__(
        self,
        trt: Any,
        engine: Any,
        memory: Callable[[int], DeviceBuffer],
        shape: tuple[str, tuple[int, ...]],
        error: Callable[[str], EngineError],
        graphs: bool = True,
    ):
        self._error = error
        self._addresses: dict[str, int] = {}
        self.captures = graphs and captures_itself(trt)
        self.context: Any = _create(trt, engine, self.captures)
        if self.context is None:
            raise error("cannot create an execution context")
        if not self.context.set_input_shape(*shape):
            raise error(f"rejects an input of shape {shape[1]}")
        nbytes = int(self.context.update_device_memory_size_for_shapes())
        if nbytes < 0:
            raise error("does not tell how much memory it needs")
        self.memory = memory(nbytes)
        self.context.set_device_memory(self.memory.pointer, self.memory.nbytes)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape of an input or output."""
        return tuple(self.context.get_tensor_shape(name))

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Enqueue the engine on the stream. Raises EngineError."""
        if self._addresses != addresses:
            for name, address in addresses.items():
                if not self.context.set_tensor_address(name, address):
                    raise self._error(f"rejects the address for '{name}'")
            self._addresses = dict(addresses)
        if not self.context.execute_async_v3(stream):
            raise self._error("cannot be run")

    def refuses_capture(self, stream: int) -> bool:
        """Return whether TensorRT-RTX says that it cannot capture a graph on the stream."""
        return hasattr(self.context, "is_stream_capturable") and not (
            self.context.is_stream_capturable(stream)
        )

    def close(self) -> None:
        """Free it."""
        self.context = None


def captures_itself(trt: Any) -> bool:
    """Return whether this library captures CUDA graphs by itself: TensorRT-RTX from 1.2 on."""
    return hasattr(trt, "CudaGraphStrategy")


def _create(trt: Any, engine: Any, captures: bool) -> Any:
    """Return an execution context without memory, or None."""
    allocation = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if not captures_itself(trt):
        return engine.create_execution_context(allocation)
    config = engine.create_runtime_config()
    config.set_execution_context_allocation_strategy(allocation)
    strategies = trt.CudaGraphStrategy
    config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if captures else strategies.DISABLED
    kernels = trt.DynamicShapesKernelSpecializationStrategy
    config.dynamic_shapes_kernel_specialization_strategy = kernels.EAGER  # a shape is used for long
    return engine.create_execution_context(config)
