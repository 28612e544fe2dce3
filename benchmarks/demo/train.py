"""Train the demo's small SegNet on drawn street scenes (CPU, about 20 minutes on 2 cores).

    python benchmarks/demo/train.py -o benchmarks/demo/segnet_demo.pt

Writes {"state_dict", "mean_iou", "seed", "steps"}; the scenes depend on the seed only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from segnet_deploy.files import atomic_path
from segnet_deploy.scenes import CLASSES, draw_scene
from segnet_deploy.types import Frame, Size
from segnet_export.models import SegNet, SegNetConfig

MEAN, STD = (110.0, 110.0, 110.0), (60.0, 60.0, 60.0)  # BGR, 0-255 scale
WIDTH = 8
UNSEEN = range(1_000_000, 1_000_050)


def network() -> SegNet:
    """Return the demo's network: the paper's layout, an eighth of its channels."""
    return SegNet(SegNetConfig.standard(len(CLASSES), width=WIDTH))


def tensors(seeds: Any) -> tuple[Tensor, Tensor]:
    """Draw scenes: (N, 3, 180, 240) uint8 frames and (N, 180, 240) uint8 labels."""
    scenes = [draw_scene(int(seed)) for seed in seeds]
    frames = np.stack([scene.frame.transpose(2, 0, 1) for scene in scenes])
    return torch.from_numpy(frames), torch.from_numpy(np.stack([s.labels for s in scenes]))


def normalise(frames: Tensor) -> Tensor:
    """Return float32 input from uint8 BGR frames."""
    shape = (1, 3, 1, 1)
    return (frames.float() - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)


def mean_iou(segment: Callable[[Frame], Frame], size: Size = (180, 240)) -> float:
    """Return the mean over the classes of tp / (gt + predicted - tp) on the unseen scenes.

    `segment` returns the labels of a frame of `size`; one confusion matrix accumulates all scenes.
    """
    count = len(CLASSES)
    matrix = np.zeros((count, count))
    for seed in UNSEEN:
        scene = draw_scene(seed, *size)
        pairs = scene.labels.astype(np.int64) * count + segment(scene.frame)
        matrix += np.bincount(pairs.ravel(), minlength=count**2).reshape(count, count)
    hits = matrix.diagonal()
    return float((hits / (matrix.sum(0) + matrix.sum(1) - hits)).mean())


@torch.no_grad()
def predict(model: nn.Module, frame: Frame) -> Frame:
    """Return the labels of one (H, W, 3) uint8 BGR frame."""
    planes = torch.from_numpy(frame.transpose(2, 0, 1).copy())[None]
    return model(normalise(planes)).argmax(1)[0].to(torch.uint8).numpy()  # type: ignore[no-any-return]


def train(steps: int, batch: int, scenes: int, seed: int) -> tuple[SegNet, float]:
    """Train with AdamW, a one-cycle schedule and softened class weights; return model and mIoU."""
    torch.manual_seed(seed)
    frames, labels = tensors(tqdm(range(scenes), desc="drawing"))
    share = torch.bincount(labels.flatten().long(), minlength=len(CLASSES)) / labels.numel()
    weight = (share.median() / share).sqrt()
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    with tqdm(total=steps, desc="training") as bar:
        for _ in range(steps):
            pick = torch.randint(scenes, (batch,))
            x, target = frames[pick], labels[pick].long()
            if torch.rand(()) < 0.5:
                x, target = x.flip(-1), target.flip(-1)
            model.train()
            loss = F.cross_entropy(model(normalise(x)), target, weight)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    model.eval()
    return model, mean_iou(lambda frame: predict(model, frame))


def main() -> None:
    parser = argparse.ArgumentParser(description="train the demo's SegNet on drawn scenes")
    parser.add_argument("-o", "--output", default="segnet_demo.pt")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--scenes", type=int, default=1500, help="number of drawn scenes")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model, accuracy = train(arguments.steps, arguments.batch, arguments.scenes, arguments.seed)
    print(f"mIoU on {len(UNSEEN)} unseen scenes: {accuracy:.3f}")
    checkpoint = {
        "state_dict": model.state_dict(),
        "mean_iou": accuracy,
        "seed": arguments.seed,
        "steps": arguments.steps,
    }
    with atomic_path(arguments.output) as temporary:
        torch.save(checkpoint, temporary)


if __name__ == "__main__":
    main()
