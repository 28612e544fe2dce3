"""The child process of one network: it loads once and answers requests, one JSON per line.

    python -m segnet_deploy.bench.comparison.network_worker < requests > answers

open    load and warm up; memory before, while and after
round   so many timed calls, after one that is not counted
power   energy of a frame
layers  time per layer; the network is loaded again for it
weigh   work and index memory of the file, nothing is loaded
choose  the runtime that auto takes for the file
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.bench.stages import PartTimer
from segnet_deploy.errors import EngineError, SegNetError
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.system import clocks

Request = dict[str, Any]


def main() -> int:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    # Libraries print to stdout at will, so answers have a stream of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except SegNetError as error:
            answer = {"error": str(error)}
        except MemoryError:
            answer = {"error": "out of memory"}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


class Worker:
    """One network, opened by its first request."""

    def __init__(self) -> None:
        self._request: Request = {}
        self._segmenter: Segmenter | None = None
        self._timer: PartTimer | None = None

    def answer(self, request: Request) -> dict[str, Any]:
        """Do what `request["do"]` names. Raises SegNetError."""
        answers = {
            "open": self._open,
            "round": self._round,
            "power": self._power,
            "layers": self._layers,
            "weigh": self._weigh,
            "choose": self._choose,
        }
        return answers[request["do"]](request)

    def _open(self, request: Request) -> dict[str, Any]:
        from segnet_deploy.bench.memory import MemoryTimeline
        from segnet_deploy.bench.timing import warm_up
        from segnet_deploy.runtimes.base import is_engine_file
        from segnet_deploy.system import nvml
        from segnet_deploy.system.memory import rss_bytes
        from segnet_deploy.tensorrt_build import rebuild

        self._request = request
        timeline = MemoryTimeline()
        timeline.start()
        frame = _frame(request)
        runtime = "tensorrt" if is_engine_file(request["engine"]) else request["runtime"]
        if runtime != "tensorrt":
            run_trivial_model(runtime, request["threads"])
        baseline, started = rss_bytes(), time.perf_counter()
        self._segmenter = segmenter = load(
            request["engine"],
            request["runtime"],
            "stretch",
            request["threads"],
            rebuild if request["rebuild"] else None,
        )
        loaded = time.perf_counter() - started
        self._timer = PartTimer(segmenter, frame)
        timeline.mark()
        warm_ups, settled = warm_up(self._timer, most=request["warm_ups"])
        timeline.stop()
        self._timer.take()
        engine = segmenter.engine
        return {
            "runtime": engine.name,
            "device": engine.device,
            "form": "lowered" if engine.lowered else segmenter.metadata.form,
            "network": segmenter.metadata.network,
            "input": list(engine.inputs[0].shape),
            "outputs": [list(port.shape) for port in engine.outputs],
            "load_seconds": loaded,
            "warm_up_runs": warm_ups,
            "settled": settled,
            "baseline_bytes": baseline,
            "running_bytes": timeline.largest_since_mark,
            "memory_timeline": timeline.points(),
            "device_bytes": engine.device_bytes,
            "switches": getattr(engine, "switches", None),
            "gpu": nvml.read() if engine.device == "cuda" else None,
            **_peak(baseline),
        }

    def _round(self, request: Request) -> dict[str, Any]:
        timer = self._opened()
        timer()  # brings threads and caches back from what other networks did
        timer.take()
        for _ in range(request["runs"]):
            timer()
        assert self._segmenter is not None
        now = clocks.read(gpu=self._segmenter.engine.device == "cuda")
        return {"samples": timer.take(), "clocks": now, **_peak(None)}

    def _power(self, _: Request) -> dict[str, Any]:
        from segnet_deploy.system.power import energy

        timer = self._opened()
        assert self._segmenter is not None
        return energy(timer, len(timer.frames), device=self._segmenter.engine.device)

    def _layers(self, _: Request) -> dict[str, Any]:
        from segnet_deploy.bench.layer_profile import layers

        if self._segmenter is not None:
            self._segmenter.close()
        self._segmenter = self._timer = None
        request = self._request
        return {"layers": layers(request["engine"], request["runtime"], request["threads"])}

    def _weigh(self, request: Request) -> dict[str, Any]:
        from segnet_deploy.bench.graph_cost import weigh

        return weigh(Path(request["engine"]))

    def _choose(self, request: Request) -> dict[str, Any]:
        with load(request["engine"], threads=request["threads"]) as segmenter:
            return {"runtime": segmenter.engine.name}

    def _opened(self) -> PartTimer:
        if self._timer is None:
            raise EngineError("no network is open in this process")
        return self._timer


def run_trivial_model(runtime: str, threads: int | None) -> None:
    """Load and run one small convolution, so that what follows is the network's own memory."""
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
        engine = runtimes.open(path, runtime, threads)
        engine.run(np.zeros(shape, np.float32))
        engine.close()


def _frame(request: Request) -> Any:
    from segnet_deploy.frames import read_image
    from segnet_deploy.scenes import draw_scene

    if request["image"]:
        return read_image(request["image"])
    return draw_scene(0, *request["size"]).frame


def _peak(baseline: int | None) -> dict[str, Any]:
    from segnet_deploy.bench.memory import added_bytes
    from segnet_deploy.system.memory import peak_rss_bytes

    peak = peak_rss_bytes()
    added = {} if baseline is None else {"added_bytes": added_bytes(baseline, peak)}
    return {"peak_bytes": peak, **added}


if __name__ == "__main__":
    sys.exit(main())
