"""The child process of segnet-build: parse the ONNX file, build, answer.

A crash inside NVIDIA's library ends this process, not the user's.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.files import atomic_write
from segnet_deploy.runtimes.tensorrt.library import Library, load
from segnet_deploy.runtimes.tensorrt.logger import make_logger
from segnet_deploy.runtimes.tensorrt.plugin_library import load_plugin
from segnet_deploy.system.child_process import report, serve
from segnet_deploy.system.cuda_driver import device_name
from segnet_deploy.tensorrt_build.log import layers, totals
from segnet_deploy.tensorrt_build.request import BuildAnswer, BuildRequest


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Build what `request`, a BuildRequest as JSON, asks for; return the BuildAnswer as JSON."""
    asked = BuildRequest.from_json(request)
    started = time.perf_counter()
    answer = _build(load(asked.kind), asked)
    answer.seconds = time.perf_counter() - started
    return asdict(answer)


def _build(library: Library, request: BuildRequest) -> BuildAnswer:
    trt = library.trt
    log = make_logger(trt, keep_lines=True)
    builder = trt.Builder(log)
    if request.plugin is not None:
        load_plugin(builder.get_plugin_registry(), request.plugin, log)
    flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag)  # the parser does not keep it alive
    parser = trt.OnnxParser(network, log)
    if not parser.parse(Path(request.onnx).read_bytes()):
        raise EngineError(f"{library.kind} rejects the graph: {_refusal(parser, log)}")
    config = _config(library, builder, request, log)
    cache = TimingCache(library, config, request)
    plan = _plan(trt, builder, network, config, log)
    if plan is None:
        raise EngineError(f"{library.kind} {library.version} built nothing: {log.reason()}")
    Path(request.plan).write_bytes(memoryview(plan))
    cache.save()
    return _answer(library, network, log)


def _plan(trt: Any, builder: Any, network: Any, config: Any, log: Any) -> Any:
    """Return the plan, or None. TensorRT-RTX puts it into the caller's memory if it can.

    Capturing a CUDA graph needs that. A network whose sizes depend on its values cannot.
    """
    flag = getattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION", None)
    if flag is None:
        return builder.build_serialized_network(network, config)
    config.set_flag(flag)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        config.clear_flag(flag)
        log.errors.clear()
        plan = builder.build_serialized_network(network, config)
    return plan


def _config(library: Library, builder: Any, request: BuildRequest, log: Any) -> Any:
    trt = library.trt
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if request.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    _targets(trt, config, request.targets)
    _profiles(builder, config, request, log)
    with contextlib.suppress(AttributeError):  # older bindings have no monitor
        config.progress_monitor = _monitor(trt)
    if request.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if request.embed_plugin:
        config.plugins_to_serialize = [request.plugin]
    return config


def _answer(library: Library, network: Any, log: Any) -> BuildAnswer:
    memory = totals(log.lines)
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    return BuildAnswer(
        library.version,
        memory["activation_bytes"],
        memory["weights_bytes"],
        layers(log.lines),
        [_port(t, True) for t in inputs] + [_port(t, False) for t in outputs],
    )


class TimingCache:
    """The builder's timings, kept for the next build of the same version and device."""

    def __init__(self, library: Library, config: Any, request: BuildRequest):
        self._config, self._path = config, None
        if request.timing_cache is None:
            return
        device = "-".join(request.targets) or device_name()
        name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{library.kind}-{library.version}-{device}")
        self._path = Path(request.timing_cache) / f"{name}.timing"
        known = self._path.read_bytes() if self._path.is_file() else b""
        cache = config.create_timing_cache(known) or config.create_timing_cache(b"")
        if cache is not None:
            config.set_timing_cache(cache, False)

    def save(self) -> None:
        """Write the cache, if one is kept."""
        cache = self._config.get_timing_cache() if self._path is not None else None
        if self._path is not None and cache is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self._path, bytes(cache.serialize()))


def _port(tensor: Any, is_input: bool) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "input": is_input,
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).rpartition(".")[2].lower(),
    }


def _monitor(trt: Any) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # a base class of the loaded library
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if parent is None:
                self.steps[phase] = steps

        def step_complete(self, phase: str, step: int) -> bool:
            if phase in self.steps:
                report("building", step + 1, self.steps[phase])
            return True

        def phase_finish(self, phase: str) -> None:
            self.steps.pop(phase, None)

    return Monitor()


def _refusal(parser: Any, log: Any) -> str:
    if not parser.num_errors:
        return str(log.reason())
    error = parser.get_error(0)
    with contextlib.suppress(AttributeError):
        return f"node '{error.node_name()}' ({error.node_operator()}): {error.desc()}"
    return str(error)


def _targets(trt: Any, config: Any, targets: tuple[str, ...]) -> None:
    if not targets:
        return
    known = {n.lower(): v for n, v in trt.ComputeCapability.__members__.items() if n != "NONE"}
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        if target not in known:
            names = ", ".join(name for name in known if name.startswith("sm"))
            raise InputError(f"--target {target}; this builder supports {names}")
        config.set_compute_capability(known[target], index)


def _profiles(builder: Any, config: Any, request: BuildRequest, log: Any) -> None:
    if not request.profiles:
        return
    profile = builder.create_optimization_profile()
    for name, (minimum, optimum, maximum) in request.profiles.items():
        profile.set_shape(name, tuple(minimum), tuple(optimum), tuple(maximum))
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"the profile {request.profiles} is rejected: {log.reason()}")


if __name__ == "__main__":
    sys.exit(serve({"build": build}))
