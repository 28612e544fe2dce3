"""Kill segnet-batch's workers and drivers at random until an archive is done; then count.

    python tests/programs/kill_batch.py --frames 2000 --kills 20 --json kills.json

The archive is drawn. Every fourth kill hits the driver, which is then started again, the others a
Ray worker. Fails unless the manifest has each input once and all label maps are those of an
uninterrupted engine. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import pyarrow.parquet

from segnet_deploy.files import make_folder
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import load

SIZE = (45, 61)


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", help="ONNX file (default: a small SegNet, exported now)")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-batch-") as name:
        folder = Path(name)
        images = draw_archive(folder / "images", arguments.frames)
        engine = arguments.engine or export_small(folder / "segnet.onnx")
        out = folder / "out"
        kills = run_with_kills(engine, images, out, arguments.kills, random.Random(arguments.seed))
        result = {"frames": arguments.frames, **kills, **check(engine, images, out)}
    print(json.dumps(result, indent=1))
    if arguments.json:
        make_folder(Path(arguments.json).parent)
        Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["lost"] == result["twice"] == result["different"] == 0 else 1


def draw_archive(folder: Path, frames: int) -> Path:
    """Write drawn scenes as PNGs."""
    folder.mkdir()
    for seed in range(frames):
        cv2.imwrite(str(folder / f"{seed:06d}.png"), draw_scene(seed, *SIZE).frame)
    return folder


def export_small(path: Path) -> str:
    """Export a small SegNet with random weights of seed 0."""
    import torch

    from segnet_export import SegNet, SegNetConfig, export

    torch.manual_seed(0)
    net = SegNet(SegNetConfig.standard(5, width=4))
    export(net, torch.zeros(1, 3, *SIZE), path, runtimes=["onnxruntime"])
    return str(path)


def run_with_kills(
    engine: str, images: Path, out: Path, kills: int, rng: random.Random
) -> dict[str, Any]:
    """Start the command until it ends by itself; kill between; return how often."""
    words = [sys.executable, "-m", "segnet_deploy.cli.batch", "--engine", engine]
    words += ["--runtime", "onnxruntime", "--source", str(images), "-o", str(out)]
    words += ["--workers", "2", "--threads", "1", "--shard-size", "5"]
    done: Counter[str] = Counter()
    while True:
        done["starts"] += 1
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        while process.poll() is None and done["workers"] + done["drivers"] < kills:
            # After some more shards, so that each kill interrupts work; at a random moment of one.
            goal = count_records(out) + rng.randint(1, 6)
            while process.poll() is None and count_records(out) < goal:
                time.sleep(0.005)
            time.sleep(rng.random() * 0.2)
            if process.poll() is not None:
                break
            if (done["workers"] + done["drivers"]) % 4 == 3:
                process.kill()
                done["drivers"] += 1
                break
            workers = find_workers(process.pid)
            if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                done["workers"] += 1
        if process.wait() == 0:
            return dict(done)
        if process.returncode != -signal.SIGKILL:
            raise SystemExit(f"segnet-batch ended with status {process.returncode}")


def count_records(out: Path) -> int:
    """Return the number of complete shards."""
    return len(list(out.glob("_shards/*.json")))


def find_workers(driver: int) -> list[int]:
    """Return the ids of the worker processes below a driver."""
    parents: dict[int, int] = {}
    titles: dict[int, bytes] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
            titles[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:
            continue
    return [
        pid
        for pid, title in titles.items()
        if b"ShardActor" in title and driver in ancestors(pid, parents)
    ]


def ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    """Return the processes above `pid`."""
    found: set[int] = set()
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.add(pid)
    return found


def check(engine: str, images: Path, out: Path) -> dict[str, int]:
    """Count, by the manifest, the inputs that are lost, there twice, or have other labels."""
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"]
    files = [out / shard["file"] for shard in manifest["shards"]]
    rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
    counts = Counter(row["path"] for row in rows)
    wanted = {str(path) for path in images.iterdir()}
    different = 0
    with load(engine, "onnxruntime", threads=1) as segmenter:
        for row in rows:
            labels = segmenter.segment(cv2.imread(row["path"]))
            different += row["labels"] != cv2.imencode(".png", labels)[1].tobytes()
    return {
        "shards": len(files),
        "rows": len(rows),
        "lost": len(wanted - set(counts)),
        "twice": sum(count > 1 for count in counts.values()),
        "different": different,
        "left_over": len(list(out.glob(".part*"))),
    }


if __name__ == "__main__":
    sys.exit(main())
