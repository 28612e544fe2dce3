"""`segnet-bench`: latency, throughput and memory of an exported file on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli import run
from segnet_deploy.errors import UsageError
from segnet_deploy.runtime_names import CHOICES

if TYPE_CHECKING:
    from segnet_deploy.frames import Frame
    from segnet_deploy.measure import Clock
    from segnet_deploy.segmenter import Segmenter

PARTS = ("pre", "infer", "post", "total")
DEFAULT_SIZE = (360, 480)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), bench, argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-bench`."""
    parser = argparse.ArgumentParser(
        prog="segnet-bench",
        description="Measure an exported ONNX file or an engine from frame to label map.",
        epilog="results go to stdout, talk to stderr",
    )
    parser.add_argument(
        "--engine",
        required=True,
        metavar="M.onnx|M.trt",
        help="file of segnet-export or segnet-build",
    )
    parser.add_argument("--runtime", choices=CHOICES, default="auto")
    parser.add_argument(
        "--rebuild", action="store_true", help="build a TensorRT engine again if it is stale"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--runs", type=int, metavar="N", help="measured runs (default: 30)")
    length.add_argument("--duration", type=float, metavar="S", help="seconds instead of --runs")
    parser.add_argument("--threads", type=int, help="CPU threads (default: the runtime's choice)")
    parser.add_argument("--image", metavar="F", help="a frame to use (default: a drawn one)")
    parser.add_argument("--json", metavar="FILE|-", help="write JSON; - for stdout, no table")
    return parser


def bench(arguments: argparse.Namespace) -> int:
    """Measure, print the table and write the JSON."""
    from segnet_deploy.measure import rss_bytes
    from segnet_deploy.scenes import draw_scene
    from segnet_deploy.segmenter import load

    _check(arguments)
    runs = 30 if arguments.runs is None and arguments.duration is None else arguments.runs
    frame = _image(arguments.image)
    baseline = rss_bytes()
    started = time.perf_counter()
    with load(
        arguments.engine, arguments.runtime, "stretch", arguments.threads, arguments.rebuild
    ) as segmenter:
        load_time = time.perf_counter() - started
        frame = draw_scene(0, *_frame_size(segmenter)).frame if frame is None else frame
        print(f"{arguments.engine}: {segmenter.engine.name}, warming up", file=sys.stderr)
        result = measure(segmenter, frame, runs, arguments.duration)
        result |= _surroundings(arguments, segmenter, frame, baseline, load_time)
    text = json.dumps(result, indent=2) + "\n"
    if arguments.json == "-":
        sys.stdout.write(text)
        return 0
    print(format_table(result))
    if arguments.json:
        from segnet_deploy.files import atomic_write

        atomic_write(arguments.json, text.encode())
    return 0


def measure(
    segmenter: Segmenter,
    frame: Frame,
    runs: int | None,
    duration: float | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Time the parts of `segmenter` on batches of `frame`; return seconds and cautions."""
    from segnet_deploy.measure import Timing, noise_warnings, repeat, warm_up

    frames = [frame] * (segmenter.batch or 1)
    samples: dict[str, list[float]] = {part: [] for part in PARTS}

    def call() -> None:
        start = clock()
        prepared = segmenter.preprocess(frames)
        ready = clock()
        raw = segmenter.infer(prepared.x)
        inferred = clock()
        segmenter.postprocess(raw, prepared.placements)
        end = clock()
        if (gpu := segmenter.engine.gpu_seconds) is not None:
            samples.setdefault("gpu", []).append(gpu)
        times = (ready - start, inferred - ready, end - inferred, end - start)
        for part, seconds in zip(PARTS, times, strict=True):
            samples[part].append(seconds)

    warm_ups, settled = warm_up(call, clock=clock)
    for values in samples.values():
        values.clear()
    repeat(call, runs=runs, duration=duration, clock=clock)
    timings = {part: Timing(tuple(values)) for part, values in samples.items()}
    return {
        "batch": len(frames),
        "warm_up_runs": warm_ups,
        "runs": len(samples["total"]),
        "seconds": {part: timing.summary() for part, timing in timings.items()},
        "samples": samples,
        "frames_per_second": len(frames) / timings["total"].mean,
        "warnings": [vars(caution) for caution in noise_warnings(timings["total"], settled)],
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the readable form of a result; milliseconds and MB appear only here."""
    from segnet_deploy.paper import TABLE_6_CONDITIONS

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
    if "gpu" in result["seconds"]:
        lines.append("gpu: events around the engine alone; infer: with transfers")
    if result["device_bytes"] is not None:
        lines.append(f"GPU memory of the engine: {_mb(result['device_bytes'])} MB")
    if gpu := result.get("gpu"):
        lines.append(", ".join(f"{name} {value}" for name, value in gpu.items() if value))
    paper = result["paper"]
    lines += [
        "",
        f"{result['runs']} runs after {result['warm_up_runs']} warm-up runs, "
        f"{result['frames_per_second']:.2f} frames/s, load {result['load_seconds']:.2f} s",
        "",
        f"{'':16}{'infer ms':>10}{'memory MB':>11}{'added MB':>10}{'model MB':>10}",
        f"{'this machine':16}{result['seconds']['infer']['median'] * 1e3:10.1f}"
        f"{_mb(result['peak_bytes']):>11}{_mb(result['added_bytes']):>10}"
        f"{_mb(result['model_bytes']):>10}",
        f"{'paper, Table 6':16}{paper['forward'] * 1e3:10.1f}{_mb(paper['inference_bytes']):>11}"
        f"{'-':>10}{_mb(paper['model_bytes']):>10}",
        f"(paper: SegNet, {TABLE_6_CONDITIONS}; here: peak memory of the process)",
    ]
    lines += [f"warning: {w['text']}: {w['advice']}" for w in result["warnings"]]
    return "\n".join(lines)


def _surroundings(
    arguments: argparse.Namespace,
    segmenter: Segmenter,
    frame: Frame,
    baseline: int | None,
    load_seconds: float,
) -> dict[str, Any]:
    from segnet_deploy.gpu import nvml
    from segnet_deploy.machine import describe_machine, versions
    from segnet_deploy.measure import added_bytes, peak_rss_bytes
    from segnet_deploy.paper import table_6

    engine, libraries, peak = segmenter.engine, versions(), peak_rss_bytes()
    return {
        "engine": str(arguments.engine),
        "runtime": engine.name,
        "runtime_version": libraries.get(engine.name, ""),
        "device": engine.device,
        "form": "lowered" if engine.lowered else segmenter.metadata.form,
        "input": list(engine.inputs[0].shape),
        "frame": list(frame.shape[:2]),
        "threads": arguments.threads,
        "load_seconds": load_seconds,
        "peak_bytes": peak,
        "added_bytes": added_bytes(baseline, peak),
        "device_bytes": engine.device_bytes,
        "model_bytes": Path(arguments.engine).stat().st_size,
        "machine": describe_machine(),
        "gpu": nvml.read() if engine.device == "cuda" else None,
        "versions": libraries,
        "paper": vars(table_6("SegNet")),
    }


def _frame_size(segmenter: Segmenter) -> tuple[int, int]:
    height, width = segmenter.size
    return height or DEFAULT_SIZE[0], width or DEFAULT_SIZE[1]


def _image(path: str | None) -> Frame | None:
    from segnet_deploy.frames import read_image

    return None if path is None else read_image(path)


def _mb(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:.1f}"


def _check(arguments: argparse.Namespace) -> None:
    for name in ("runs", "duration", "threads"):
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name} {value}; expected more than 0")


if __name__ == "__main__":
    sys.exit(main())
