"""How old are the camera loop's results, and how many are there per second?"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu.cuda_engine import CudaEngine
from gpu.libraries import open_kernels
from gpu.network import SIZE, SMALL_SIZE
from gpu.place import Place
from gpu.record import Record
from gpu.torch_pair import register
from segnet_deploy.bench.timing import Timing
from segnet_deploy.camera.loop import Camera
from segnet_deploy.camera.sources.base import SourceOptions
from segnet_deploy.camera.sources.synthetic import Synthetic
from segnet_deploy.segmenter import Segmenter

FPS, SECONDS = 60.0, 20.0
SHARE = 0.95  # of the source's frames that must be shown


def run(place: Place, record: Record) -> None:
    """Run the loop on a synthetic source with the network and our pair in PyTorch."""
    kernels = open_kernels(place)
    register(kernels)
    record.fact("libraries", [kernels.origin])
    record.fact("engine", "SegNet in fp16 with our pair through PyTorch, from a CUDA graph")
    size = place.sized(SIZE, SMALL_SIZE)
    record.must("labels equal those of a second run", _is_repeatable(place, size))
    source = Synthetic(SourceOptions(size=size, fps=FPS))
    ages, latencies = [], []
    status: Any = None
    seconds = place.sized(SECONDS, 2.0)
    with Camera(lambda: Segmenter(CudaEngine(place, size)), source, duration=seconds) as camera:
        for result in camera.results():
            ages.append(result.age)
            latencies.append(result.status.latency)
            status = result.status
    skipped = len(ages) // 10  # the first second
    age, latency = Timing(tuple(ages[skipped:])), Timing(tuple(latencies[skipped:]))
    record.row(
        "camera",
        source_fps=FPS,
        results=len(ages),
        results_per_second=len(ages) / seconds,
        age=age.summary(),
        latency=latency.summary(),
        dropped=status.dropped,
        errors=status.errors,
    )
    record.must("no error in the loop", status.errors == 0, status.errors)
    record.speed_goal("results per frame of the source", len(ages) / seconds / FPS, SHARE)
    goal = "a frame's 16.7 ms over the 99th percentile of the age"
    record.speed_goal(goal, 1 / FPS / age.percentile(99), 1.0)


def _is_repeatable(place: Place, size: tuple[int, int]) -> bool:
    frame = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    engine = CudaEngine(place, size)
    first = engine.run(frame).copy()
    engine.run(255 - frame)
    return bool(np.array_equal(engine.run(frame), first)) and len(np.unique(first)) > 1
