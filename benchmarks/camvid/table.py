"""Accuracy of trained networks next to the paper's: G, C, mIoU and boundary F1.

    python benchmarks/camvid/table.py CAMVID runs/segnet runs/segnet-basic --split test

Evaluates the best.pt of each run in PyTorch on the label maps of the split; predictions of another
size are resized to theirs. Writes the figures to accuracy.json in the run's folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import batches
import cv2
import numpy as np
import torch
from tqdm import tqdm
from train import predict

from segnet_deploy.accuracy.datasets import Example, find_examples
from segnet_deploy.accuracy.metrics import Accuracy, boundary_f1, confusion
from segnet_deploy.bench.paper import (
    TABLE_1_ACCURACY,
    TABLE_1_CONDITIONS,
    TABLE_3,
    TABLE_3_CONDITIONS,
)
from segnet_deploy.cli import command
from segnet_deploy.errors import InputError
from segnet_deploy.files import atomic_write
from segnet_export.models import ARCHITECTURES, create

FIGURES = ("global_accuracy", "class_average", "mean_iou", "boundary_f1")


def evaluate(folder: Path, examples: Sequence[Example], boundaries: bool) -> dict[str, Any]:
    """Return the figures of one run in percent. Raises InputError."""
    path = folder / "best.pt"
    if not path.is_file():
        raise InputError(f"no such file: {path}; expected a folder of train.py")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    chosen = saved["settings"]
    size = tuple(chosen["imgsz"])
    model = create(chosen["arch"], batches.CLASSES, width=chosen["width"], size=size)
    model.load_state_dict(saved["state_dict"])
    counts = np.zeros((batches.CLASSES, batches.CLASSES), np.int64)
    scores = []
    for example in tqdm(examples, desc=chosen["arch"], unit="frame"):
        truth = example.truth(batches.CLASSES)
        labels = predict(model, batches.read(example, size)[0])
        if labels.shape != truth.shape:
            wanted = (truth.shape[1], truth.shape[0])
            labels = np.asarray(cv2.resize(labels, wanted, interpolation=cv2.INTER_NEAREST))
        counts += confusion(truth, labels, batches.CLASSES)
        if boundaries:
            scores.append(boundary_f1(truth, labels, batches.CLASSES))
    accuracy = Accuracy(counts)
    figures = {name: 100 * getattr(accuracy, name) for name in FIGURES[:3]}
    figures["boundary_f1"] = 100 * float(np.nanmean(scores)) if scores else None
    return {
        "network": ARCHITECTURES[chosen["arch"]].title,
        **figures,
        "iou": {
            name: None if np.isnan(value) else 100 * float(value)
            for name, value in zip(batches.NAMES, accuracy.iou, strict=True)
        },
        "images": len(examples),
        "steps": saved["step"],
        "epochs": saved["epoch"],
        "settings": chosen,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table: our rows, then the paper's."""
    head = f"{'':40}{'G':>8}{'C':>8}{'mIoU':>8}{'BF':>8}"
    lines = [head]
    for row in rows:
        name = f"{row['network']}, {row['epochs']:.0f} epochs, width {row['settings']['width']}"
        lines.append(_line(name, [row[figure] for figure in FIGURES]))
    for paper_rows, conditions in (
        (TABLE_3, TABLE_3_CONDITIONS),
        (TABLE_1_ACCURACY, TABLE_1_CONDITIONS),
    ):
        lines += ["", f"paper: {conditions}"]
        lines += [_line(row.network, [getattr(row, f) for f in FIGURES]) for row in paper_rows]
    return "\n".join(lines)


def _line(name: str, values: Sequence[float | None]) -> str:
    return f"{name:40}" + "".join(f"{'-' if v is None else f'{v:.2f}':>8}" for v in values)


def compare(arguments: argparse.Namespace) -> int:
    """Measure each run and print the table."""
    examples = find_examples(arguments.data, "camvid", arguments.split)[:: arguments.every]
    rows = []
    for folder in arguments.runs:
        row = evaluate(folder, examples, not arguments.no_boundaries) | {"split": arguments.split}
        atomic_write(folder / "accuracy.json", (json.dumps(row, indent=1) + "\n").encode())
        rows.append(row)
    print(f"here: CamVid {arguments.split}, {len(examples)} images")
    print(table(rows))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(prog="table.py", description="accuracy next to the paper's")
    parser.add_argument("data", type=Path, metavar="CAMVID")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--split", default="test")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth image")
    parser.add_argument("--no-boundaries", action="store_true", help="omit BF, which is slow")
    return command.run(parser, compare, argv)


if __name__ == "__main__":
    sys.exit(main())
