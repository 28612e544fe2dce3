"""Draw the picture of docs/how-to/uncertainty.md: streets, labels, and where they are uncertain.

    python benchmarks/demo/uncertainty_picture.py -o docs/pictures/uncertainty.png

Trains the demo's network for some more steps with dropout at Bayesian SegNet's six places, since a
network that never saw dropout is uncertain everywhere; then exports it with --mc-dropout.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm
from train import MEAN, STD, normalise, tensors

from segnet_deploy.frames import write_png
from segnet_deploy.overlay import heat_map, overlay
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import load
from segnet_export import SegNet, export, load_checkpoint, place_dropout

HERE = Path(__file__).parent
SIZE = (180, 240)
SHOWN = (3, 7, 10)
SAMPLES, SCENES, BATCH, RATE = 16, 200, 2, 1e-3


def train_with_dropout(steps: int) -> SegNet:
    """Return the demo's network after `steps` steps with dropout."""
    torch.manual_seed(0)
    network = load_checkpoint(HERE / "segnet_demo.pt").model
    assert isinstance(network, SegNet)
    place_dropout(network, "bayesian")
    frames, labels = tensors(range(SCENES))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    network.train()
    for _ in tqdm(range(steps), desc="training with dropout"):
        pick = torch.randint(SCENES, (BATCH,))
        loss = F.cross_entropy(network(normalise(frames[pick])), labels[pick].long())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        optimiser.step()
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description="draw the picture of docs/how-to/uncertainty.md")
    parser.add_argument("-o", "--output", default="uncertainty.png")
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    network = train_with_dropout(arguments.steps)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "segnet.onnx"
        export(
            network,
            torch.zeros(1, 3, *SIZE),
            path,
            runtimes=["onnxruntime"],
            mean=MEAN,
            std=STD,
            mc_dropout=SAMPLES,
        )
        rows = []
        with load(path, "onnxruntime") as segmenter:
            palette, classes = segmenter.metadata.palette, len(segmenter.metadata.classes)
            for seed in SHOWN:
                frame = draw_scene(seed, *SIZE).frame
                labels, uncertainty = segmenter.segment_with_uncertainty(frame)
                pictures = [frame, overlay(frame, labels, palette, 0.7)]
                rows.append(np.hstack([*pictures, heat_map(uncertainty, classes)]))
    write_png(arguments.output, np.vstack(rows))


if __name__ == "__main__":
    main()
