"""What does Ray cost per frame, does memory stay flat, and what would a cluster do?

    python benchmarks/scale.py --json out/scale.json

Small drawn frames and small networks, so that the cost of everything but inference shows. Times
exclude the start of the cluster and each worker's first shard. The table of clusters is computed
from these figures and the stated assumptions; no such cluster was measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import torch

from harness.options import add_result, new_parser
from harness.results import machine_facts, save
from segnet_deploy.batch.archive import Shard, find_shards
from segnet_deploy.batch.engine_files import EngineFiles, read_engine
from segnet_deploy.batch.manifest import Record
from segnet_deploy.batch.run_local import run_local
from segnet_deploy.batch.run_ray import run_on_ray
from segnet_deploy.batch.worker import Task
from segnet_deploy.progress import silent
from segnet_deploy.scenes import draw_scene
from segnet_deploy.types import Size
from segnet_export import SegNet, SegNetConfig, export

# Assumptions of the computed table.
NODE_CORES, CORES_PER_WORKER, SEGNET_SECONDS = 16, 2, 0.743  # benchmarks/results/peers-*
FRAMES, FRAMES_PER_TAR, FRAME_BYTES = 10**9, 10_000, 60_000  # a 360x480 JPEG
LIST_PER_SECOND, READS_PER_SECOND = 10_000, 5_500  # names and reads of one object store prefix
NODE_BYTES_PER_SECOND = 1.25e9  # 10 Gbit/s


def main() -> int:
    """Run the benchmark."""
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, default=4000, help="for cost and memory (4000)")
    parser.add_argument("--shard-size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    add_result(parser)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "scale", **machine_facts()}
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        result["cost"] = measure_cost(folder, arguments)
        save(arguments.json, result)
        result["workers"] = measure_workers(folder, arguments.rounds)
    result["computed_not_measured"] = compute_clusters(result["cost"]["ray_ms_per_shard"])
    save(arguments.json, result)
    show(result)
    return 0


def measure_cost(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return seconds per frame in this process and on Ray, in turns, and memory of the worker."""
    archive = draw_archive(folder / "small", arguments.frames, (45, 61))
    engine = read_engine(export_net(folder / "small.onnx", (45, 61), width=4))
    shards = find_shards([archive], arguments.shard_size)
    rounds: list[dict[str, float]] = []
    memory: list[list[float]] = []
    for number in range(arguments.rounds):
        task = new_task(folder / f"cost-{number}", engine, threads=1)
        local = steady(run_local(engine, shards, task), shards)
        ray, worker_mb = watched(engine, shards, task)
        rounds.append({"local_ms": 1e3 * local, "ray_ms": 1e3 * ray})
        memory.append(worker_mb)
    added = [entry["ray_ms"] - entry["local_ms"] for entry in rounds]
    return {
        "frames": arguments.frames,
        "shard_size": arguments.shard_size,
        "rounds": rounds,
        "ray_adds_ms_per_frame": added,
        "ray_ms_per_shard": max(0.0, min(added)) * arguments.shard_size,
        "worker_mb_after_quarters": memory,
    }


def watched(engine: EngineFiles, shards: list[Shard], task: Task) -> tuple[float, list[float]]:
    """Return seconds per frame on Ray, and the worker's memory after each quarter of the shards."""
    memory: list[float] = []

    def records() -> Iterator[Record]:
        for count, record in enumerate(ray_records(engine, shards, task, 1), start=1):
            yield record
            if count * 4 // len(shards) > (count - 1) * 4 // len(shards):
                memory.append(worker_mb())

    return steady(records(), shards), memory


def measure_workers(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return frames per second of 1x1, 2x1 and 1x2 workers x threads, in turns."""
    size = (180, 240)
    archive = draw_archive(folder / "large", 96, size)
    engine = read_engine(export_net(folder / "large.onnx", size, width=16))
    shards = find_shards([archive], 4)
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for workers, threads in ((1, 1), (2, 1), (1, 2)):
            task = new_task(folder / f"w-{number}-{workers}-{threads}", engine, threads)
            seconds = steady(ray_records(engine, shards, task, workers), shards, 2 * workers)
            found.setdefault(f"{workers}x{threads}", []).append(1 / seconds)
    return found


def steady(records: Iterator[Record], shards: list[Shard], skip: int = 1) -> float:
    """Return seconds per frame, without the first `skip` records."""
    frames, began = 0, 0.0
    for number, record in enumerate(records, start=1):
        frames += record.frames if number > skip else 0
        ended = time.perf_counter()
        began = ended if number == skip else began
    assert len(shards) > skip
    return (ended - began) / frames


def ray_records(
    engine: EngineFiles, shards: list[Shard], task: Task, workers: int
) -> Iterator[Record]:
    """Run shards on a local cluster."""
    return run_on_ray(engine, shards, task, workers=workers, gpus=0, address=None, progress=silent)


def new_task(out: Path, engine: EngineFiles, threads: int) -> Task:
    """Return a task that writes Parquet with label maps."""
    return Task(str(out), engine.sha256, "onnxruntime", threads)


def worker_mb() -> float:
    """Return the resident memory of the workers of this process's cluster, in MB."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_worker = b"ShardActor" in (folder / "cmdline").read_bytes()
            if is_worker and parent(parent(int(folder.name))) == os.getpid():  # by way of raylet
                total += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total / 1e6


def parent(pid: int) -> int:
    """Return the id of the process that started `pid`."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def draw_archive(folder: Path, frames: int, size: Size) -> Path:
    """Write drawn scenes as JPEGs: hard links to 50 files, since drawing takes longer."""
    folder.mkdir()
    for seed in range(frames):
        path = folder / f"{seed:06d}.jpg"
        if seed < 50:
            cv2.imwrite(str(path), draw_scene(seed, *size).frame)
        else:
            path.hardlink_to(folder / f"{seed % 50:06d}.jpg")
    return folder


def export_net(path: Path, size: Size, width: int) -> Path:
    """Export a SegNet with random weights of seed 0."""
    torch.manual_seed(0)
    net = SegNet(SegNetConfig.standard(11, width=width))
    export(net, torch.zeros(1, 3, *size), path, runtimes=["onnxruntime"])
    return path


def compute_clusters(ray_ms_per_shard: float) -> list[dict[str, Any]]:
    """Return days for 10^9 frames by the number of nodes, and what limits them: not measured."""
    rows = []
    for nodes in (10, 100, 1000):
        rate = nodes * (NODE_CORES // CORES_PER_WORKER) / SEGNET_SECONDS  # frames per second
        shards = FRAMES / FRAMES_PER_TAR
        days = {
            "inference": FRAMES / rate,
            "network": FRAMES * FRAME_BYTES / (nodes * NODE_BYTES_PER_SECOND),
            "ray's driver, tars": shards * ray_ms_per_shard / 1e3,
            "reads of single files, one prefix": FRAMES / READS_PER_SECOND,
            "listing single files": FRAMES / LIST_PER_SECOND,
        }
        in_days = {name: seconds / 86400 for name, seconds in days.items()}
        tars = {name: value for name, value in in_days.items() if "single" not in name}
        rows.append(
            {
                "nodes": nodes,
                "frames_per_second": rate,
                "days": in_days,
                "bottleneck_tars": max(tars, key=lambda name: tars[name]),
                "bottleneck_single_files": max(in_days, key=lambda name: in_days[name]),
            }
        )
    return rows


def show(result: dict[str, Any]) -> None:
    """Print the result."""
    cost = result["cost"]
    for entry in cost["rounds"]:
        print(f"in this process {entry['local_ms']:.2f} ms a frame, on Ray {entry['ray_ms']:.2f}")
    for memory in cost["worker_mb_after_quarters"]:
        print("worker, MB after each quarter:", ", ".join(f"{value:.0f}" for value in memory))
    for name, rates in result["workers"].items():
        print(f"{name} workers x threads:", ", ".join(f"{rate:.1f} frames/s" for rate in rates))
    print("computed, not measured: days for 10^9 frames")
    for row in result["computed_not_measured"]:
        days = ", ".join(f"{name} {value:.2f}" for name, value in row["days"].items())
        print(f"{row['nodes']} nodes: {days}; tars: {row['bottleneck_tars']}")


if __name__ == "__main__":
    sys.exit(main())
