"""The child process of one network: it loads the network once and measures it on request.

open    load and warm up; memory before, during and after
round   some timed calls, after one that is not counted
power   energy per frame
layers  time per layer; the network is loaded again for it
cost    cost of the file's graph; nothing is loaded
choose  the runtime that auto chooses for the file

Except for `choose`, answers are fields of NetworkResult (bench/result.py).
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.bench.stages import StageTimer
from segnet_deploy.errors import EngineError
from segnet_deploy.runtimes.base import is_engine_file
from segnet_deploy.runtimes.loader import Rebuild
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.system import clocks, nvml
from segnet_deploy.system.child_process import report, serve
from segnet_deploy.system.memory import peak_rss_bytes, rss_bytes
from segnet_deploy.types import Frame

Answer = dict[str, Any]


class NetworkWorker:
    """Holds one network, loaded by `open`, and measures it."""

    def __init__(self) -> None:
        self._segmenter: Segmenter | None = None
        self._timer: StageTimer | None = None
        self._source: tuple[str, str, int | None] = ("", "auto", None)

    @property
    def tasks(self) -> dict[str, Callable[..., Answer]]:
        """The tasks of the child process by name."""
        return {
            "open": self.open,
            "round": self.measure_round,
            "power": self.measure_power,
            "layers": self.profile_layers,
            "cost": cost,
            "choose": choose_runtime,
        }

    def open(
        self,
        engine: str,
        runtime: str,
        threads: int | None,
        rebuild: bool,
        image: str | None,
        size: Sequence[int],
        warm_ups: int,
    ) -> Answer:
        """Load and warm up; `size` is that of the drawn frame, used if `image` is None."""
        from segnet_deploy.bench.memory import MemoryTimeline
        from segnet_deploy.bench.timing import warm_up

        timeline = MemoryTimeline()
        timeline.start()
        frame = _frame(image, size)
        if not is_engine_file(engine):
            run_trivial_model(runtime, threads)
        callback = _rebuild_callback() if rebuild else None
        baseline, started = rss_bytes(), time.perf_counter()
        self._segmenter = load(engine, runtime, "stretch", threads, callback, report)
        load_seconds = time.perf_counter() - started
        self._timer = StageTimer(self._segmenter, frame)
        self._source = (engine, runtime, threads)
        timeline.start_phase()
        warm_up_runs, settled = warm_up(self._timer, max_runs=warm_ups)
        timeline.stop()
        self._timer.pop_samples()
        return {
            **_describe(self._segmenter),
            "load_seconds": load_seconds,
            "warm_up_runs": warm_up_runs,
            "settled": settled,
            "baseline_bytes": baseline,
            "running_bytes": timeline.phase_peak,
            "memory_timeline": timeline.points(),
            "peak_bytes": peak_rss_bytes(),
        }

    def measure_round(self, runs: int) -> Answer:
        """Time `runs` calls; return their samples and the clocks after them."""
        segmenter, timer = self._opened()
        timer()  # restores the threads and caches that other networks have used meanwhile
        timer.pop_samples()
        for _ in range(runs):
            timer()
        return {
            "samples": timer.pop_samples(),
            "clocks": clocks.read(gpu=segmenter.engine.device == "cuda"),
            "peak_bytes": peak_rss_bytes(),
        }

    def measure_power(self) -> Answer:
        """Measure the energy per frame."""
        from segnet_deploy.system.power import measure_energy

        segmenter, timer = self._opened()
        return asdict(measure_energy(timer, len(timer.frames), device=segmenter.engine.device))

    def profile_layers(self) -> Answer:
        """Profile the network, loaded again; the worker's own engine is closed."""
        from segnet_deploy.bench.layer_profile import profile_layers

        self._opened()[0].close()
        self._segmenter = self._timer = None
        return {"layers": profile_layers(*self._source)}

    def _opened(self) -> tuple[Segmenter, StageTimer]:
        if self._segmenter is None or self._timer is None:
            raise EngineError("no network is open in this process")
        return self._segmenter, self._timer


def cost(engine: str) -> Answer:
    """Return the cost of a file's graph."""
    from segnet_deploy.bench.graph_cost import graph_cost

    return asdict(graph_cost(engine))


def choose_runtime(engine: str, threads: int | None) -> Answer:
    """Return the `runtime` that auto chooses."""
    with load(engine, threads=threads, progress=report) as segmenter:
        return {"runtime": segmenter.engine.name}


def run_trivial_model(runtime: str, threads: int | None) -> None:
    """Load and run one small convolution, so that later memory is the network's own."""
    import onnx

    from segnet_deploy import runtimes

    shape = [1, 3, 16, 16]
    weights = onnx.numpy_helper.from_array(np.ones((3, 3, 3, 3), np.float32), "w")
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    ports = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "xy"]
    graph = onnx.helper.make_graph([node], "trivial", ports[:1], ports[1:], [weights])
    opsets = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trivial.onnx"
        onnx.save(model, path)
        with runtimes.open(path, runtime, threads) as engine:
            engine.run(np.zeros(shape, np.float32))


def _rebuild_callback() -> Rebuild:
    from segnet_deploy import tensorrt_build

    return functools.partial(tensorrt_build.rebuild, progress=report)


def _describe(segmenter: Segmenter) -> Answer:
    engine = segmenter.engine
    return {
        "runtime": engine.name,
        "device": engine.device,
        "form": "lowered" if engine.lowered else segmenter.metadata.form,
        "network": segmenter.metadata.network,
        "input": list(engine.inputs[0].shape),
        "outputs": [list(port.shape) for port in engine.outputs],
        "device_bytes": engine.device_bytes,
        "switches": engine.switches,
        "gpu": nvml.read() if engine.device == "cuda" else None,
    }


def _frame(image: str | None, size: Sequence[int]) -> Frame:
    from segnet_deploy.frames import read_image
    from segnet_deploy.scenes import draw_scene

    return read_image(image) if image else draw_scene(0, size[0], size[1]).frame


if __name__ == "__main__":
    sys.exit(serve(NetworkWorker().tasks))
