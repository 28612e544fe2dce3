"""Measure one model in this process: pipeline stages, memory, and optionally energy and layers."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.bench.graph_cost import index_shapes
from segnet_deploy.bench.layer_profile import profile_layers
from segnet_deploy.bench.paper import TITLES, Table6Row, find_table_6_row
from segnet_deploy.bench.result import RunResult
from segnet_deploy.bench.stages import StageTimer
from segnet_deploy.bench.timing import Timing, repeat, warm_up
from segnet_deploy.bench.warnings import MeasurementWarning, noise_warnings, throttling_warnings
from segnet_deploy.frames import read_image
from segnet_deploy.metadata import Metadata
from segnet_deploy.pretrained import find_file
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.base import is_engine_file
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.system import nvml
from segnet_deploy.system.clocks import ClockHistory
from segnet_deploy.system.machine import describe_machine, now, versions
from segnet_deploy.system.memory import peak_rss_bytes, rss_bytes
from segnet_deploy.system.power import Energy, measure_energy
from segnet_deploy.types import DEFAULT_SIZE, Frame

if TYPE_CHECKING:
    from segnet_deploy.runtimes.loader import Rebuild

RUNS = 30
PAPER_POOLS = 5  # that are unpooled in SegNet


def run_model(
    path: str | os.PathLike[str],
    runtime: str = "auto",
    *,
    threads: int | None = None,
    rebuild: Rebuild | None = None,
    image: str | os.PathLike[str] | None = None,
    runs: int | None = None,
    duration: float | None = None,
    layers: bool = False,
    power: bool = False,
    progress: Progress = silent,
) -> RunResult:
    """Load an ONNX file or an engine, and time it from frame to label map.

    `runs` measured calls follow the warm-up, or as many as fit into `duration` seconds; 30 if
    both are None. Each segments a full batch of one frame: that of `image`, else a drawn one of
    the model's size, 360x480 if that is dynamic. `layers` adds the time of each layer, `power`
    the energy per frame. The remaining arguments are those of segnet_deploy.load.

    Raises InputError, UnsupportedModelError, MissingDependencyError or EngineError.

    >>> result = run_model("segnet.onnx", runs=5)
    >>> result.runs, sorted(result.seconds)
    (5, ['infer', 'post', 'pre', 'total'])
    """
    path = find_file(path)
    frame = None if image is None else read_image(image)
    baseline, started = rss_bytes(), time.perf_counter()
    with load(path, runtime, "stretch", threads, rebuild, progress) as segmenter:
        load_seconds = time.perf_counter() - started
        if frame is None:
            frame = _draw_frame(segmenter)
        progress(f"{path}: {segmenter.engine.name}, warming up")
        result = RunResult(
            engine=str(path),
            threads=threads,
            frame=list(frame.shape[:2]),
            load_seconds=load_seconds,
            baseline_bytes=baseline,
            **_measure(segmenter, frame, runs, duration),
            **_describe(path, segmenter),
            power=_measure_energy(segmenter, frame) if power else None,
        )
    if layers:
        result.layers = profile_layers(path, runtime, threads)
        if result.layers is None:
            result.warnings.append(_missing_layers(result))
    return result


def _measure(
    segmenter: Segmenter, frame: Frame, runs: int | None, duration: float | None
) -> dict[str, Any]:
    """Time the stages on batches of `frame`; return fields of the result."""
    history = ClockHistory(gpu=segmenter.engine.device == "cuda")
    timer = StageTimer(segmenter, frame)

    def call() -> None:
        timer()
        history.sample()

    if runs is None and duration is None:
        runs = RUNS
    warm_up_runs, settled = warm_up(call)
    timer.pop_samples()
    count = repeat(call, runs=runs, duration=duration)
    samples = timer.pop_samples()
    timings = {stage: Timing(tuple(values)) for stage, values in samples.items()}
    batch = len(timer.frames)
    return {
        "batch": batch,
        "dropout_samples": segmenter.metadata.samples or None,
        "warm_up_runs": warm_up_runs,
        "runs": count,
        "seconds": {stage: timing.summary() for stage, timing in timings.items()},
        "samples": samples,
        "frames_per_second": batch / timings["total"].mean,
        "clocks": history.readings,
        "warnings": [
            *noise_warnings(timings["total"], settled),
            *throttling_warnings(history.readings),
        ],
    }


def _describe(path: Path, segmenter: Segmenter) -> dict[str, Any]:
    """Return what was measured, on which machine, and the memory that it needed."""
    engine, libraries = segmenter.engine, versions()
    return {
        "runtime": engine.name,
        "runtime_version": libraries.get(engine.name, ""),
        "device": engine.device,
        "form": "lowered" if engine.lowered else segmenter.metadata.form,
        "input": list(engine.inputs[0].shape),
        "switches": engine.switches,
        "peak_bytes": peak_rss_bytes(),
        "device_bytes": engine.device_bytes,
        "model_bytes": path.stat().st_size,
        "started": now(),
        "machine": describe_machine(),
        "gpu": nvml.read() if engine.device == "cuda" else None,
        "versions": libraries,
        "paper": find_paper_row(path, segmenter.metadata),
    }


def find_paper_row(path: Path, metadata: Metadata) -> Table6Row | None:
    """Return the network's row of Table 6, or None if the table does not have it.

    A file without a network's name is SegNet's if five of its pools are unpooled. Engines
    cannot be inspected: one of segnet-build without a name counts as SegNet's.
    """
    title = TITLES.get(metadata.network, metadata.network)
    if title:
        return find_table_6_row(title)
    if is_engine_file(path):
        is_segnet = metadata.form != "unknown"
    else:
        is_segnet = len(index_shapes(path)[0]) == PAPER_POOLS
    return find_table_6_row("SegNet") if is_segnet else None


def _draw_frame(segmenter: Segmenter) -> Frame:
    from segnet_deploy.scenes import draw_scene

    height, width = segmenter.size
    return draw_scene(0, height or DEFAULT_SIZE[0], width or DEFAULT_SIZE[1]).frame


def _measure_energy(segmenter: Segmenter, frame: Frame) -> Energy:
    frames = [frame] * (segmenter.batch or 1)
    call = partial(segmenter.segment_batch, frames)
    return measure_energy(call, len(frames), device=segmenter.engine.device)


def _missing_layers(result: RunResult) -> MeasurementWarning:
    return MeasurementWarning(
        f"{result.runtime} does not report the time of each layer",
        "use --runtime onnxruntime or openvino",
    )
