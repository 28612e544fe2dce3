"""Make the two networks that the package contains: `demo` and `street`.

    python benchmarks/demo/pretrained.py -o segnet_deploy/pretrained

`demo` is segnet_demo.pt (train.py), for frames of 180x240. `street` is trained on from it with
scenes of 360x480, in crops and other light (CPU, about 10 minutes on 2 cores); it depends on the
seed only. Both are exported through the parity gate, then stored with fp16 weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from train import MEAN, STD, UNSEEN, mean_iou, normalise

from segnet_deploy.cli.progress import TerminalProgress
from segnet_deploy.files import atomic_path
from segnet_deploy.passes.half_weights import compress_weights
from segnet_deploy.runtimes.model_file import load_model, save_model
from segnet_deploy.scenes import CLASSES, draw_scene
from segnet_deploy.segmenter import load
from segnet_deploy.types import Size
from segnet_export import SegNet, export, load_checkpoint

CHECKPOINT = Path(__file__).parent / "segnet_demo.pt"
SIZES: dict[str, Size] = {"demo": (180, 240), "street": (360, 480)}
FIRST_SCENE = 2_000_000  # of the training of `street`: none of those of `demo`, none unseen
ABOUT = {
    "demo": "SegNet, an eighth of the paper's width; street scenes drawn by segnet_deploy.scenes",
    "street": "SegNet, an eighth of the paper's width; larger drawn street scenes, other light",
}


def draw(scenes: int) -> tuple[Tensor, Tensor]:
    """Draw large scenes: (N, 3, 360, 480) uint8 frames and (N, 360, 480) uint8 labels."""
    size = SIZES["street"]
    drawn = [draw_scene(FIRST_SCENE + i, *size) for i in tqdm(range(scenes), desc="drawing")]
    frames = np.stack([scene.frame.transpose(2, 0, 1) for scene in drawn])
    return torch.from_numpy(frames), torch.from_numpy(np.stack([s.labels for s in drawn]))


def crops(frames: Tensor, labels: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Return random crops of 180x240 px, half of them mirrored, in changed light.

    (N, 3, 180, 240) float32 of the levels 0 to 255, and (N, 180, 240) int64.
    """
    height, width = SIZES["demo"]
    xs, targets = [], []
    for scene in torch.randint(len(frames), (batch,)).tolist():
        top = int(torch.randint(frames.shape[2] - height + 1, ()))
        left = int(torch.randint(frames.shape[3] - width + 1, ()))
        rows, columns = slice(top, top + height), slice(left, left + width)
        x, target = frames[scene, :, rows, columns].float(), labels[scene, rows, columns].long()
        if torch.rand(()) < 0.5:
            x, target = x.flip(-1), target.flip(-1)
        gain, shift = 0.7 + 0.6 * torch.rand(()), 20 * torch.randn(3, 1, 1)
        xs.append((x * gain + shift).clamp(0, 255))
        targets.append(target)
    return torch.stack(xs), torch.stack(targets)


def train_street(steps: int, batch: int, scenes: int, seed: int) -> SegNet:
    """Train the demo's network on larger scenes: AdamW, one cycle, softened class weights."""
    torch.manual_seed(seed)
    network = load_checkpoint(CHECKPOINT).model
    assert isinstance(network, SegNet)
    frames, labels = draw(scenes)
    share = torch.bincount(labels.flatten().long(), minlength=len(CLASSES)) / labels.numel()
    weight = (share.median() / share).sqrt()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    network.train()
    with tqdm(total=steps, desc="training") as bar:
        for _ in range(steps):
            x, target = crops(frames, labels, batch)
            loss = F.cross_entropy(network(normalise(x)), target, weight)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
            optimiser.step()
            schedule.step()
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return network.eval()


def write(network: SegNet, name: str, path: Path, facts: dict[str, Any]) -> float:
    """Export through the gate, store fp16 weights, record the mean IoU; return that."""
    size = SIZES[name]
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "fp32.onnx"
        options: dict[str, Any] = {"mean": MEAN, "std": STD, "classes": "camvid"}
        export(network, torch.zeros(1, 3, *size), exact, progress=TerminalProgress(), **options)
        model = compress_weights(load_model(exact)).model
        for node in model.graph:  # where torch's exporter took it from: a tenth of the file
            node.metadata_props.clear()
        halved = Path(folder) / "halved.onnx"
        save_model(model, halved)
        with load(halved, "onnxruntime") as segmenter:
            accuracy = mean_iou(segmenter.segment, size)
    about = {"about": ABOUT[name], "mean_iou": round(accuracy, 3), "licence": "Apache-2.0", **facts}
    model.metadata_props["segnet.pretrained"] = json.dumps(about)
    with atomic_path(path) as temporary:
        save_model(model, temporary)
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description="make the networks that the package contains")
    parser.add_argument("-o", "--output", type=Path, default=Path("segnet_deploy/pretrained"))
    parser.add_argument("--only", choices=sorted(SIZES), help="make one of them")
    parser.add_argument("--steps", type=int, default=700, help="of street")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--scenes", type=int, default=400, help="number of drawn scenes")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in [arguments.only] if arguments.only else sorted(SIZES):
        if name == "demo":
            checkpoint = torch.load(CHECKPOINT, weights_only=True)
            network: Any = load_checkpoint(CHECKPOINT).model
            facts = {key: checkpoint[key] for key in ("seed", "steps")}
        else:
            steps, seed = arguments.steps, arguments.seed
            network = train_street(steps, arguments.batch, arguments.scenes, seed)
            facts = {"seed": seed, "steps": steps}
        path = arguments.output / f"{name}.onnx"
        accuracy = write(network, name, path, facts)
        print(f"{path}: mIoU {accuracy:.3f} on {len(UNSEEN)} unseen scenes")


if __name__ == "__main__":
    main()
