"""Where a runtime's time goes, by kind of layer, in ms of one inference."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy import runtimes
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.runtimes.onnxruntime import OrtEngine

RUNS = 3


def profile(path: Path, runtime: str, threads: int, x: Any, folder: Path) -> dict[str, float]:
    """Return ms by kind of layer, the largest first; empty where the runtime cannot tell."""
    engine: Any = runtimes.open(path, runtime, threads)
    lowered = engine.lowered
    engine.close()
    file = ModelFile.read(path)
    source = file.lowered() if lowered else path.read_bytes()
    if runtime == "onnxruntime":
        found = of_onnxruntime(engine, threads, x, folder)
    elif runtime == "openvino":
        found = _openvino(source, threads, x)
    else:
        found = _ncnn(path, threads, x)
    return dict(found.most_common())


def of_onnxruntime(engine: OrtEngine, threads: int, x: Any, folder: Path) -> Counter[str]:
    """Return ms by operator of ONNX Runtime, as its profiler measures them in a new session."""
    import onnxruntime

    source, library = engine.source()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if library is not None:
        options.register_custom_ops_library(str(library))
    options.intra_op_num_threads = threads
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "ort")
    model = source if isinstance(source, bytes) else str(source)
    session = onnxruntime.InferenceSession(model, options)
    name = session.get_inputs()[0].name
    for _ in range(RUNS + 1):
        session.run(None, {name: x})
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    nodes = [event for event in events if event.get("cat") == "Node" and "op_name" in event["args"]]
    nodes = [event for event in nodes if event["name"].endswith("_kernel_time")]
    found: Counter[str] = Counter()
    for event in nodes[len(nodes) // (RUNS + 1) :]:  # without the first run
        found[event["args"]["op_name"]] += event["dur"] / 1e3 / RUNS
    return found


def _openvino(source: bytes, threads: int, x: Any) -> Counter[str]:
    import openvino

    core = openvino.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(core.read_model(source), "CPU", config | {"PERF_COUNT": True})
    request = compiled.create_infer_request()
    for _ in range(RUNS):
        request.infer({0: x})
    found: Counter[str] = Counter()
    for node in request.get_profiling_info():
        found[node.node_type] += node.real_time.total_seconds() * 1e3
    return Counter({kind: ms for kind, ms in found.items() if ms > 0})


def _ncnn(path: Path, threads: int, x: Any) -> Counter[str]:
    """ncnn's wheel tells no layer's time: what the host does is timed, the rest is the nets'."""
    from segnet_deploy.runtimes.ncnn.execution import Run

    engine: Any = runtimes.open(path, "ncnn", threads)
    found: Counter[str] = Counter()
    total = 0.0
    for number in range(RUNS + 1):
        run = Run(engine._nets, engine._ncnn.Mat, engine._program, threads)
        spent: Counter[str] = Counter()
        _watch(run, spent)
        before = time.perf_counter()
        run.outputs(x[0], [engine.outputs[0].name])
        if number:
            total += time.perf_counter() - before
            found.update(spent)
    engine.close()
    found["nets"] = total - sum(found.values())  # type: ignore[assignment]  # seconds
    return Counter({kind: s * 1e3 / RUNS for kind, s in found.items()})  # type: ignore[misc]


def _watch(run: Any, spent: Counter[str]) -> None:
    """Time the host's own work: what it does apart from waiting for blobs."""
    from segnet_deploy.native import max_unpool

    for name in ("pool", "unpool", "label_map"):
        original = getattr(max_unpool, name)
        original = getattr(original, "__wrapped__", original)

        def timed(*arguments: Any, name: str = name, original: Any = original) -> Any:
            before = time.perf_counter()
            result = original(*arguments)
            spent[name] += time.perf_counter() - before  # type: ignore[assignment]
            return result

        timed.__wrapped__ = original  # type: ignore[attr-defined]
        setattr(max_unpool, name, timed)
    original = run._input

    def normalise(image: np.ndarray[Any, Any]) -> Any:
        before = time.perf_counter()
        result = original(image)
        spent["input"] += time.perf_counter() - before  # type: ignore[assignment]
        return result

    run._input = normalise
