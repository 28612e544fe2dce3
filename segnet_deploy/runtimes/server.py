"""A model on a Triton server as an engine: `load("grpc://host:8001/segnet")`.

The protocol is KServe v2 over gRPC, by the library tritonclient. On the same machine frames and
results travel through shared memory.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np

from segnet_deploy.errors import EngineError, InputError, UnsupportedModelError
from segnet_deploy.metadata import PREFIX, Metadata
from segnet_deploy.optional import require
from segnet_deploy.runtimes.base import Engine, Port, ServerUnavailableError, check_input
from segnet_deploy.types import Array

TIMEOUT = 30.0  # s for one call
_UNAVAILABLE = tuple(
    f"StatusCode.{name}" for name in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "NOT_FOUND")
)
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_DTYPES = {"UINT8": "uint8", "FP32": "float32", "FP16": "float16", "INT64": "int64"}


def open_server(url: str) -> ServerEngine:
    """Open the model at grpc://HOST:PORT/MODEL or grpc://HOST:PORT/MODEL/VERSION.

    Raises InputError (a wrong address, no such model), ServerUnavailableError (nobody answers),
    UnsupportedModelError (not a model of segnet-triton) or MissingDependencyError.
    """
    return ServerEngine(url)


class ServerEngine(Engine):
    """A connection to one model."""

    name = "server"

    def __init__(self, url: str):
        self._url = url
        self._address, self._model, self._version = _split(url)
        self._grpc = require("tritonclient.grpc", extra="triton")
        self._client: Any = self._grpc.InferenceServerClient(self._address)
        self._memory: _SharedMemory | None = None
        with self._translated():
            self._check_model()
            found = self._client.get_model_metadata(self._model, self._version)
            config = self._client.get_model_config(self._model, self._version).config
        props = {name: value.string_value for name, value in config.parameters.items()}
        if not any(name.startswith(PREFIX) for name in props):
            raise UnsupportedModelError(
                f"{url} is not a model of segnet-triton: its config records no classes"
            )
        self.inputs = tuple(_port(tensor) for tensor in found.inputs)
        self.outputs = tuple(_port(tensor) for tensor in found.outputs)
        self.metadata = Metadata.from_props(props)
        if self._address.rpartition(":")[0] in _LOCAL and os.name == "posix":
            self._memory = _SharedMemory(self._client)

    def run_all(self, x: Array) -> dict[str, Array]:
        """Send the first input and return every output by name."""
        check_input(self.inputs[0], x)
        tensor = self._grpc.InferInput(self.inputs[0].name, x.shape, _triton_name(x.dtype))
        with self._translated():
            if self._memory is None:
                tensor.set_data_from_numpy(np.ascontiguousarray(x))
            else:
                self._memory.put(tensor, x)
            answer = self._client.infer(
                self._model, [tensor], self._version, client_timeout=TIMEOUT
            )
        return {port.name: answer.as_numpy(port.name) for port in self.outputs}

    def stop_sharing(self) -> None:
        """Send everything over the connection from now on, also on the server's own machine."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def close(self) -> None:
        """End the connection."""
        self.stop_sharing()
        self._client.close()

    def _check_model(self) -> None:
        if self._client.is_model_ready(self._model, self._version):
            return
        index = self._client.get_model_repository_index().models
        names = sorted({model.name for model in index if model.state == "READY"})
        raise InputError(
            f"{self._url}: the server has no ready model {self._model!r}; it has "
            f"{', '.join(names) or 'none'}"
        )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        exceptions: Any = require("tritonclient.utils", extra="triton")
        try:
            yield
        except exceptions.InferenceServerException as error:
            reason = f"{self._url}: {error.message()}"
            # A server that was started again does not know the region of shared memory.
            if error.status() in _UNAVAILABLE or "shared memory region" in error.message():
                if self._memory is not None:
                    self._memory.forget()
                raise ServerUnavailableError(
                    f"no answer from {self._address} ({error.message()}); start the server, or "
                    "check the address"
                ) from error
            raise EngineError(reason) from error


class _SharedMemory:
    """One region of shared memory, which grows with the input, and is known to the server."""

    def __init__(self, client: Any):
        self._library: Any = require("tritonclient.utils.shared_memory", extra="triton")
        self._client, self._name = client, f"segnet-{uuid.uuid4().hex[:12]}"
        self._region: Any = None
        self._size, self._registered = 0, False

    def put(self, tensor: Any, x: Array) -> None:
        """Write `x` to the region, and let `tensor` refer to it."""
        if x.nbytes > self._size:
            self.close()
            self._region = self._library.create_shared_memory_region(
                self._name, f"/{self._name}", x.nbytes
            )
            self._size = x.nbytes
        if not self._registered:
            self._client.register_system_shared_memory(self._name, f"/{self._name}", self._size)
            self._registered = True
        self._library.set_shared_memory_region(self._region, [np.ascontiguousarray(x)])
        tensor.set_shared_memory(self._name, x.nbytes)

    def forget(self) -> None:
        """Register again before the next call: the server may be another one."""
        self._registered = False

    def close(self) -> None:
        """Free the region."""
        if self._registered:
            with contextlib.suppress(Exception):  # the server may be gone
                self._client.unregister_system_shared_memory(self._name)
        if self._region is not None:
            self._library.destroy_shared_memory_region(self._region)
        self._region, self._size, self._registered = None, 0, False


def _split(url: str) -> tuple[str, str, str]:
    """Return address, model and version ('' is the newest)."""
    address, _, path = url.partition("://")[2].partition("/")
    model, _, version = path.strip("/").partition("/")
    port = address.rpartition(":")[2]
    if not model or not port.isdigit() or (version and not version.isdigit()):
        raise InputError(
            f"{url}; expected grpc://HOST:PORT/MODEL or grpc://HOST:PORT/MODEL/VERSION, such as "
            "grpc://127.0.0.1:8001/segnet"
        )
    return address, model, version


def _port(tensor: Any) -> Port:
    kind = _DTYPES.get(tensor.datatype)
    if kind is None:
        raise UnsupportedModelError(
            f"'{tensor.name}' is {tensor.datatype}; expected frames or images, as segnet-triton "
            "writes them"
        )
    shape = tuple(None if size < 0 else int(size) for size in tensor.shape)
    return Port(tensor.name, shape, np.dtype(kind))


def _triton_name(dtype: Any) -> str:
    return next(name for name, kind in _DTYPES.items() if kind == np.dtype(dtype).name)
