"""`make demo`: from a checkpoint to segmented frames and a latency table, on drawn street scenes.

python benchmarks/demo/demo.py -o out/demo
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from train import MEAN, STD, UNSEEN, mean_iou, predict

from segnet_deploy.bench.timing import interleaved
from segnet_deploy.bench.warnings import noise_warnings
from segnet_deploy.classes import CAMVID
from segnet_deploy.frames import write_png
from segnet_deploy.overlay import colorize, overlay, with_legend
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import load
from segnet_export.checkpoints import load_checkpoint

HERE = Path(__file__).parent
SIZE = (180, 240)
SHOWN = (3, 7, 10)


def step(command: str, module: str, argv: list[str]) -> None:
    """Print a command as a user would type it, and run it in a separate process."""
    print(f"\n$ {command} {' '.join(argv)}", flush=True)
    done = subprocess.run([sys.executable, "-m", module, *argv], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def accuracy(model: Path) -> float:
    """Return the mean IoU over the unseen scenes."""
    with load(model) as segmenter:
        return mean_iou(segmenter.segment)


def against_eager(model: Path, checkpoint: Path) -> str:
    """Time the file and eager PyTorch, from frame to label map, in interleaved rounds."""
    frame = draw_scene(0, *SIZE).frame
    network = load_checkpoint(checkpoint).model
    with load(model) as segmenter:
        calls = {
            "PyTorch eager": lambda: predict(network, frame),
            segmenter.engine.name: lambda: segmenter.segment(frame),
        }
        timings = interleaved(calls, 30, warm_ups=5)
    base = timings["PyTorch eager"].median
    lines = []
    for name, timing in timings.items():
        lines.append(f"{name:16}{timing.median * 1e3:8.2f} ms   {base / timing.median:5.2f}x")
        lines += [f"warning: {name}: {caution}" for caution in noise_warnings(timing)]
    return "\n".join(lines)


def picture(model: Path, path: Path) -> None:
    """Write frames, their predicted labels, and the overlay with its legend."""
    rows = []
    with load(model) as segmenter:
        for seed in SHOWN:
            frame = draw_scene(UNSEEN[seed], *SIZE).frame
            labels = segmenter.segment(frame)
            rows.append(
                np.hstack(
                    [
                        frame,
                        colorize(labels, CAMVID.palette),
                        overlay(frame, labels, CAMVID.palette),
                    ]
                )
            )
    write_png(path, with_legend(np.vstack(rows), *CAMVID))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="export, segment and time a small SegNet on drawn street scenes"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("out/demo"))
    folder: Path = parser.parse_args().output
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    for seed in SHOWN:
        write_png(folder / "frames" / f"street-{seed}.png", draw_scene(UNSEEN[seed], *SIZE).frame)
    checkpoint, model = HERE / "segnet_demo.pt", folder / "segnet.onnx"
    normalisation = ["--mean", *map(str, MEAN), "--std", *map(str, STD), "--bgr"]
    step(
        "segnet-export",
        "segnet_export.cli",
        [str(checkpoint), "-o", str(model), "--imgsz", *map(str, SIZE), "--classes", "camvid"]
        + normalisation,
    )
    step(
        "segnet-predict",
        "segnet_deploy.cli.predict",
        ["--engine", str(model), str(folder / "frames"), "-o", str(folder / "labels")],
    )
    step("segnet-bench", "segnet_deploy.cli.bench", ["--engine", str(model), "--runs", "50"])
    print(f"\nmean IoU on {len(UNSEEN)} unseen scenes: {accuracy(model):.3f}")
    print(f"\nframe to label map, 30 interleaved rounds:\n{against_eager(model, checkpoint)}")
    picture(model, folder / "overlay.png")
    print(f"\npicture: {folder / 'overlay.png'}")


if __name__ == "__main__":
    main()
