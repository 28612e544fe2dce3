"""One file measured in this process: the parts of a frame's way, memory, and the table."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.bench.stages import PartTimer
from segnet_deploy.types import DEFAULT_SIZE

if TYPE_CHECKING:
    from segnet_deploy.metadata import Metadata
    from segnet_deploy.runtimes.loader import Rebuild
    from segnet_deploy.segmenter import Segmenter
    from segnet_deploy.types import Clock, Frame


def run_single(
    path: Path,
    runtime: str = "auto",
    *,
    threads: int | None = None,
    rebuild: Rebuild | None = None,
    image: str | None = None,
    runs: int | None = None,
    duration: float | None = None,
    power: bool = False,
    layers: bool = False,
) -> dict[str, Any]:
    """Load, time and describe one file. Raises what segnet_deploy.load raises."""
    from segnet_deploy.bench.layer_profile import layers as layer_times
    from segnet_deploy.frames import read_image
    from segnet_deploy.scenes import draw_scene
    from segnet_deploy.segmenter import load
    from segnet_deploy.system.memory import rss_bytes

    frame = None if image is None else read_image(image)
    baseline = rss_bytes()
    started = time.perf_counter()
    with load(path, runtime, "stretch", threads, rebuild) as segmenter:
        loaded = time.perf_counter() - started
        height, width = segmenter.size
        if frame is None:
            frame = draw_scene(0, height or DEFAULT_SIZE[0], width or DEFAULT_SIZE[1]).frame
        print(f"{path}: {segmenter.engine.name}, warming up", file=sys.stderr)
        result = measure(segmenter, frame, runs, duration)
        result |= describe(path, threads, segmenter, frame, baseline, loaded)
        if power:
            result["power"] = measure_power(segmenter, frame)
    if layers:
        result["layers"] = layer_times(path, runtime, threads)
    return result


def measure(
    segmenter: Segmenter,
    frame: Frame,
    runs: int | None,
    duration: float | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Time the parts of `segmenter` on batches of `frame`; return seconds and cautions."""
    from segnet_deploy.bench.timing import Timing, repeat, warm_up
    from segnet_deploy.bench.warnings import noise_warnings, throttling_warnings
    from segnet_deploy.system.clocks import History

    history = History(gpu=segmenter.engine.device == "cuda")
    timer = PartTimer(segmenter, frame, clock)

    def call() -> None:
        timer()
        history.sample()

    warm_ups, settled = warm_up(call, clock=clock)
    timer.take()
    repeat(call, runs=runs, duration=duration, clock=clock)
    samples = timer.take()
    cautions = throttling_warnings(history.readings)
    timings = {part: Timing(tuple(values)) for part, values in samples.items()}
    return {
        "batch": len(timer.frames),
        "warm_up_runs": warm_ups,
        "runs": len(samples["total"]),
        "seconds": {part: timing.summary() for part, timing in timings.items()},
        "samples": samples,
        "frames_per_second": len(timer.frames) / timings["total"].mean,
        "clocks": history.readings,
        "switches": getattr(segmenter.engine, "switches", None),
        "warnings": [
            vars(caution) for caution in [*noise_warnings(timings["total"], settled), *cautions]
        ],
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the readable form of a result; milliseconds and MB appear only here."""
    from segnet_deploy.bench.paper import TABLE_6_CONDITIONS

    columns = ("median", "p90", "p95", "p99", "mean", "stdev")
    lines = [
        f"{result['engine']}  {result['runtime']} {result['runtime_version']} "
        f"({result['device']}), {result['form']} form, batch {result['batch']}, "
        f"frame {result['frame'][0]}x{result['frame'][1]}, "
        f"threads {result['threads'] or 'by the runtime'}",
        f"{result['machine']['processor']}, {result['machine']['cpus']} CPUs, "
        f"{result['machine']['system']}, Python {result['machine']['python']}",
        "",
        f"{'ms':8}" + "".join(f"{name:>10}" for name in columns),
    ]
    for part, row in result["seconds"].items():
        lines.append(f"{part:8}" + "".join(f"{row[name] * 1e3:10.2f}" for name in columns))
    lines += _trust(result)
    if "gpu" in result["seconds"]:
        lines.append("gpu: events around the engine alone; infer: with transfers")
    if result["device_bytes"] is not None:
        lines.append(f"GPU memory of the engine: {_mb(result['device_bytes'])} MB")
    if gpu := result.get("gpu"):
        shown = {name: value for name, value in gpu.items() if value and name != "energy_j"}
        lines.append(", ".join(f"{name} {value}" for name, value in shown.items()))
    lines += [
        "",
        f"{result['runs']} runs after {result['warm_up_runs']} warm-up runs, "
        f"{result['frames_per_second']:.2f} frames/s, load {result['load_seconds']:.2f} s",
        "",
        f"{'':16}{'infer ms':>10}{'memory MB':>11}{'added MB':>10}{'model MB':>10}",
        f"{'this machine':16}{result['seconds']['infer']['median'] * 1e3:10.1f}"
        f"{_mb(result['peak_bytes']):>11}{_mb(result['added_bytes']):>10}"
        f"{_mb(result['model_bytes']):>10}",
    ]
    if paper := result["paper"]:
        lines += [
            f"{'paper, Table 6':16}{paper['forward'] * 1e3:10.1f}"
            f"{_mb(paper['inference_bytes']):>11}{'-':>10}{_mb(paper['model_bytes']):>10}",
            f"(paper: {paper['network']}, {TABLE_6_CONDITIONS}; here: peak memory of the process)",
        ]
    lines += [f"warning: {w['text']}: {w['advice']}" for w in result["warnings"]]
    return "\n".join(lines + _extras(result))


def _trust(result: dict[str, Any]) -> list[str]:
    """Say how sure the median is, and how an engine was run."""
    row, lines = result["seconds"]["total"], []
    if "low" in row:
        low, high = row["low"] * 1e3, row["high"] * 1e3
        lines.append(
            f"median of total: {low:.2f} to {high:.2f} ms with 95 % confidence, "
            f"{row['outliers']} outliers"
        )
    if switches := result.get("switches"):
        lines.append(", ".join(f"{name} {value}" for name, value in switches.items()))
    return lines


def _extras(result: dict[str, Any]) -> list[str]:
    """Return the lines of --power and --layers."""
    from segnet_deploy.bench.layer_profile import format_layers

    lines = []
    if power := result.get("power"):
        joules = power["joules_per_frame"]
        lines.append(
            f"energy: not known ({power['reason']})"
            if joules is None
            else f"energy: {joules:.3f} J per frame, {power['watts']:.1f} W ({power['source']})"
        )
    if "layers" in result:
        found = result["layers"]
        none = f"{result['runtime']} cannot tell the time of its layers"
        lines += ["", none if found is None else format_layers(found)]
    return lines


def measure_power(segmenter: Segmenter, frame: Frame) -> dict[str, Any]:
    """Return the energy of a frame."""
    from segnet_deploy.system.power import energy

    frames = [frame] * (segmenter.batch or 1)
    call = partial(segmenter.segment_batch, frames)
    return energy(call, len(frames), device=segmenter.engine.device)


def describe(
    path: Path,
    threads: int | None,
    segmenter: Segmenter,
    frame: Frame,
    baseline: int | None,
    load_seconds: float,
) -> dict[str, Any]:
    """Return what a result was measured on, and the memory that it took."""
    from segnet_deploy.bench.memory import added_bytes
    from segnet_deploy.system import nvml
    from segnet_deploy.system.machine import describe_machine, now, versions
    from segnet_deploy.system.memory import peak_rss_bytes

    engine, libraries, peak = segmenter.engine, versions(), peak_rss_bytes()
    return {
        "engine": str(path),
        "runtime": engine.name,
        "runtime_version": libraries.get(engine.name, ""),
        "device": engine.device,
        "form": "lowered" if engine.lowered else segmenter.metadata.form,
        "input": list(engine.inputs[0].shape),
        "frame": list(frame.shape[:2]),
        "threads": threads,
        "load_seconds": load_seconds,
        "peak_bytes": peak,
        "added_bytes": added_bytes(baseline, peak),
        "device_bytes": engine.device_bytes,
        "model_bytes": path.stat().st_size,
        "started": now(),
        "machine": describe_machine(),
        "gpu": nvml.read() if engine.device == "cuda" else None,
        "versions": libraries,
        "paper": paper_row(path, segmenter.metadata),
    }


def paper_row(path: Path, metadata: Metadata) -> dict[str, Any] | None:
    """Return the network's row of Table 6, or None where the table does not have it.

    A checkpoint's file names no network: five pools that are unpooled are SegNet's. An engine
    cannot be looked into; one of segnet-build is taken for SegNet.
    """
    from segnet_deploy.bench.graph_cost import index_shapes
    from segnet_deploy.bench.paper import TABLE_6, TITLES
    from segnet_deploy.runtimes.base import is_engine_file

    title = TITLES.get(metadata.network, metadata.network)
    if not title:
        is_ours = (
            metadata.form != "unknown" if is_engine_file(path) else len(index_shapes(path)[0]) == 5
        )
        title = "SegNet" if is_ours else ""
    return next((vars(row) for row in TABLE_6 if row.network == title), None)


def _mb(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:.1f}"
