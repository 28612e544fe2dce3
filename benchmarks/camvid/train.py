"""Train SegNet or a compared network on CamVid, with the paper's settings by default.

    python benchmarks/camvid/train.py CAMVID --arch segnet -o runs/segnet

CAMVID contains train/ and trainannot/, val/ and valannot/ (segnet_deploy/accuracy/datasets.py).
The paper: SGD at a fixed rate of 0.1 with momentum 0.9, batches of 12, shuffled, median-frequency
balancing, until the loss converges; the model with the best validation accuracy is kept. A run
that was killed continues from its last save when the command is given again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import batches
import numpy as np
import torch
from encoder import load_encoder
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from segnet_deploy.accuracy.datasets import Example, find_examples
from segnet_deploy.accuracy.metrics import VOID, Accuracy, confusion
from segnet_deploy.cli import command
from segnet_deploy.errors import InputError, UsageError
from segnet_deploy.files import atomic_path, atomic_write, make_folder
from segnet_deploy.types import Frame
from segnet_export.models import ARCHITECTURES, create

# Settings that must not change when a run continues.
FIXED = (
    *("arch", "width", "imgsz", "batch", "lr", "momentum", "decay", "flips", "balance", "seed"),
    *("encoder", "encoder_order"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="train.py", description="train SegNet or a compared network on CamVid, resumable"
    )
    parser.add_argument("data", type=Path, metavar="CAMVID")
    parser.add_argument("--arch", choices=sorted(ARCHITECTURES), default="segnet")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--steps", type=int, help="instead of --epochs")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--decay", type=float, default=5e-4, help="weight decay (authors: 5e-4)")
    parser.add_argument("--imgsz", nargs=2, type=int, default=(360, 480), metavar=("H", "W"))
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--no-flips", dest="flips", action="store_false")
    parser.add_argument("--no-balance", dest="balance", action="store_false")
    parser.add_argument("--encoder", metavar="VGG16.pth", help="initial weights, which you provide")
    parser.add_argument(
        "--encoder-order", choices=("rgb", "bgr"), default="rgb", help="rgb: torchvision's"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--save-every", type=float, default=60.0, metavar="S", help="seconds (default: 60)"
    )
    return parser


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that must not change when a run continues."""
    return {name: _to_list(getattr(arguments, name)) for name in FIXED}


class Run:
    """A training run in a folder: its network, optimiser, step and history."""

    def __init__(self, arguments: argparse.Namespace, examples: Sequence[Example]):
        self.folder: Path = arguments.output
        self.settings = settings(arguments)
        self.device = torch.device(arguments.device)
        self.step, self.history, self.best = 0, list[dict[str, Any]](), -1.0
        size, seed = tuple(arguments.imgsz), arguments.seed
        self.batches = batches.Batches(examples, size, arguments.batch, seed, arguments.flips)
        self.model: nn.Module = create(
            arguments.arch, batches.CLASSES, width=arguments.width, size=size, seed=seed
        ).to(self.device)
        self.optimiser = torch.optim.SGD(
            self.model.parameters(),
            arguments.lr,
            momentum=arguments.momentum,
            weight_decay=arguments.decay,
        )
        if not self._resume():
            if arguments.encoder:
                state = torch.load(arguments.encoder, map_location="cpu", weights_only=True)
                state = state.get("state_dict", state)
                count = load_encoder(self.model, state, arguments.encoder_order)
                print(f"{count} convolutions from {arguments.encoder}", file=sys.stderr)
            weights = batches.class_weights(examples, size) if arguments.balance else None
            self.weights = torch.ones(batches.CLASSES) if weights is None else weights
        self.weights = self.weights.to(self.device)

    def advance(self, inputs: torch.Tensor, labels: torch.Tensor) -> float:
        """Take one step of SGD; return the loss."""
        # Seeds dropout: a step depends only on the seed and its number.
        torch.manual_seed(self.settings["seed"] * 1_000_003 + self.step)
        self.model.train()
        logits = self.model(batches.normalise(inputs.to(self.device)))
        loss = balanced_loss(logits, labels.to(self.device), self.weights)
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is {loss.item()} at step {self.step + 1}; choose a smaller --lr than "
                f"{self.settings['lr']}, and another -o"
            )
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        self.optimiser.step()
        self.step += 1
        return float(loss.item())

    def validate(self, examples: Sequence[Example], loss: float, seconds: float) -> None:
        """Measure mIoU at the trained size; keep the best model."""
        counts = np.zeros((batches.CLASSES, batches.CLASSES), np.int64)
        for example in examples:
            frame, truth = batches.read(example, self.settings["imgsz"])
            counts += confusion(truth, predict(self.model, frame), batches.CLASSES)
        score = Accuracy(counts).mean_iou
        epoch = self.step / self.batches.per_epoch
        figures = {"step": self.step, "epoch": epoch, "loss": loss, "mean_iou": score}
        self.history.append(figures | {"seconds": seconds})
        if score > self.best:
            self.best = score
            self._write("best.pt", {"state_dict": self.model.state_dict(), **figures})

    def save(self) -> None:
        """Write everything that a continued run needs, atomically."""
        parts = {"state_dict": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        facts = {"step": self.step, "history": self.history, "best": self.best}
        self._write("last.pt", parts | facts | {"weights": self.weights.cpu()})

    def _write(self, name: str, content: dict[str, Any]) -> None:
        facts: dict[str, Any] = {"settings": self.settings, "classes": list(batches.NAMES)}
        facts |= {"mean": batches.MEAN, "std": batches.STD, "channel_order": "bgr"}
        with atomic_path(self.folder / name) as temporary:
            torch.save(content | facts, temporary)

    def _resume(self) -> bool:
        path = self.folder / "last.pt"
        if not path.exists():
            return False
        saved = torch.load(path, map_location="cpu", weights_only=True)
        before = saved["settings"]
        changed = [n for n in FIXED if n in before and _to_list(before[n]) != self.settings[n]]
        if changed:
            name = changed[0]
            raise UsageError(
                f"{path} was trained with --{name} {before[name]}, not "
                f"{self.settings[name]}; continue with that, or choose another -o"
            )
        self.model.load_state_dict(saved["state_dict"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self.history, self.best = saved["step"], saved["history"], saved["best"]
        self.weights = saved["weights"]
        print(f"continuing after step {self.step}", file=sys.stderr)
        return True


def balanced_loss(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return the weighted cross entropy per labelled pixel, as the authors' Caffe layer does.

    torch's own mean divides by the sum of the labels' weights, which differs in each batch.
    """
    total = F.cross_entropy(logits, labels, weights, ignore_index=VOID, reduction="sum")
    return total / (labels != VOID).sum().clamp(min=1)


@torch.no_grad()
def predict(model: nn.Module, frame: Frame) -> Frame:
    """Return the labels of one (H, W, 3) uint8 BGR frame."""
    model.eval()
    device = next(model.parameters()).device
    planes = torch.from_numpy(frame.transpose(2, 0, 1).copy())[None].to(device)
    labels = model(batches.normalise(planes)).argmax(1)[0]
    return np.asarray(labels.to(torch.uint8).cpu().numpy())


def train(arguments: argparse.Namespace) -> int:
    """Train until the last step, with regular saves."""
    if min(arguments.batch, arguments.width) < 1:
        raise UsageError("--batch and --width; expected 1 or more")
    examples = find_examples(arguments.data, "camvid", "train")
    held_out = find_examples(arguments.data, "camvid", "val")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    make_folder(arguments.output)
    run = Run(arguments, examples)
    per_epoch = run.batches.per_epoch
    last = arguments.steps or arguments.epochs * per_epoch
    before = run.history[-1]["seconds"] if run.history else 0.0
    started, losses = time.perf_counter(), list[float]()
    saved = started
    with tqdm(total=last, initial=run.step, desc=arguments.arch, unit="step") as bar:
        for inputs, labels in run.batches.steps(run.step, last):
            losses.append(run.advance(inputs, labels))
            bar.update()
            bar.set_postfix(
                loss=f"{losses[-1]:.3f}",
                epoch=f"{run.step / per_epoch:.1f}",
                val=f"{100 * run.best:.1f}" if run.history else "-",
            )
            if run.step % per_epoch == 0 or run.step == last:
                seconds = before + time.perf_counter() - started
                run.validate(held_out, float(np.mean(losses)), seconds)
                losses.clear()
                run.save()
            elif time.perf_counter() - saved >= arguments.save_every:
                run.save()
            else:
                continue
            saved = time.perf_counter()
    facts = {"settings": run.settings, "images": len(examples), "history": run.history}
    atomic_write(run.folder / "history.json", (json.dumps(facts, indent=1) + "\n").encode())
    best = run.folder / "best.pt"
    print(f"{best}: validation mIoU {100 * run.best:.2f} after {run.step} steps")
    print(export_command(best, run.settings))
    return 0


def export_command(path: Path, chosen: dict[str, Any]) -> str:
    """Return the command that exports a trained model with its classes and normalisation."""
    known = chosen["arch"] in ("segnet", "segnet-basic")  # recognised by their weights
    arch = "" if known else f"--arch {chosen['arch']} --num-classes {batches.CLASSES} "
    height, width = chosen["imgsz"]
    mean, std = (" ".join(f"{v:g}" for v in values) for values in (batches.MEAN, batches.STD))
    return (
        f"segnet-export {path} -o {path.with_suffix('.onnx')} {arch}--imgsz {height} {width} "
        f"--classes camvid --bgr --mean {mean} --std {std}"
    )


def _to_list(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), train, argv)


if __name__ == "__main__":
    sys.exit(main())
