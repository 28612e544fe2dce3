"""fp16 and bf16 where that arithmetic really runs: PyTorch, on a CPU or a GPU.

    python benchmarks/half_precision.py model.pt --data CAMVID --layout camvid --split val \\
        --every 5 --mean 104 117 123 --std 58 58 58 --bgr [--device cuda] [--json FILE]

Accuracy on labelled frames against fp32: mIoU, classes, labels kept. Batch normalisation is folded
first, as in our files, and then weights, activations and pooled values are halves. A CPU without
such instructions takes 15 to 60 seconds a frame of the full SegNet at 360x480.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from harness.networks import CLASSES, TorchEngine
from segnet_deploy.accuracy.evaluate import (
    FIGURES,
    class_changes,
    class_losses,
    evaluate,
)
from segnet_deploy.classes import load_classes
from segnet_deploy.cli import command
from segnet_deploy.cli.eval import read_examples
from segnet_deploy.cli.options import add_labelled_data
from segnet_deploy.files import atomic_write, make_folder
from segnet_deploy.metadata import Metadata
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.system.machine import describe_machine, versions
from segnet_export.checkpoints import load_checkpoint
from segnet_export.models.segnet import ConvUnit

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def folded(module: nn.Module) -> nn.Module:
    """Return a copy with batch normalisation in the convolutions before it."""
    module = copy.deepcopy(module).eval()
    for unit in module.modules():
        if not isinstance(unit, ConvUnit) or unit.relu_before_bn:
            continue
        if isinstance(unit.bn, nn.BatchNorm2d):
            unit.conv, unit.bn = fuse_conv_bn_eval(unit.conv, unit.bn), nn.Identity()
    return module


def segmenter(
    module: nn.Module, dtype: torch.dtype, device: str, metadata: Metadata, size: list[int]
) -> Segmenter:
    """Return the net in `dtype` from float32 images to float32 logits."""
    net = folded(module).to(device, dtype)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def call(x: torch.Tensor) -> torch.Tensor:
        x = x.to(device, dtype).to(memory_format=torch.channels_last)
        return net(x).float().cpu().contiguous()  # type: ignore[no-any-return]

    return Segmenter(TorchEngine(str(dtype), call, size), metadata)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return, for each type, accuracy, labels kept and differences by class against fp32."""
    module = load_checkpoint(arguments.checkpoint).model
    classes = load_classes(arguments.classes, CLASSES)
    metadata = Metadata(
        mean=tuple(arguments.mean),
        std=tuple(arguments.std),
        channel_order="bgr" if arguments.bgr else "rgb",
        classes=classes.names,
        palette=classes.palette,
    )
    examples = read_examples(arguments)
    rows = {}
    with torch.inference_mode():
        made = {
            name: segmenter(module, dtype, arguments.device, metadata, arguments.imgsz)
            for name, dtype in {"fp32": torch.float32, **DTYPES}.items()
            if name in ("fp32", *arguments.types)
        }
        for name in arguments.types:
            result = evaluate(made[name], examples, boundary=False, other=made["fp32"])
            rows[name] = _row(result)
            print(f"{name}: {_line(rows[name])}", flush=True)
    return {"frames": len(examples), "types": rows}


def _row(result: dict[str, Any]) -> dict[str, Any]:
    other = result["against"]
    figures = [name for name in FIGURES if name != "boundary_f1"]
    return {
        **{name: result[name] for name in figures},
        "fp32": {name: other[name] for name in figures},
        "agreement": result["agreement"],
        "iou_change": class_changes(result),
        "warnings": class_losses(result),
    }


def _line(row: dict[str, Any]) -> str:
    worst = min(row["iou_change"], key=row["iou_change"].__getitem__)
    return (
        f"mIoU {100 * row['mean_iou']:.3f} (fp32 {100 * row['fp32']['mean_iou']:.3f}), "
        f"{row['agreement']:.4%} of the labels kept, "
        f"worst class {worst} {100 * row['iou_change'][worst]:+.3f} points"
    )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    add_labelled_data(parser)
    parser.add_argument("--classes", metavar="camvid|FILE", help="names")
    parser.add_argument("--imgsz", nargs=2, type=int, default=[360, 480], metavar=("H", "W"))
    parser.add_argument("--mean", nargs=3, type=float, default=[0.0] * 3, metavar=("A", "B", "C"))
    parser.add_argument("--std", nargs=3, type=float, default=[1.0] * 3, metavar=("A", "B", "C"))
    parser.add_argument("--bgr", action="store_true", help="default: RGB")
    parser.add_argument("--types", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", metavar="FILE")
    return parser


def half(arguments: argparse.Namespace) -> None:
    """Measure, print and write."""
    torch.set_num_threads(arguments.threads)
    if arguments.json:
        make_folder(Path(arguments.json).parent)
    result = compare(arguments) | {
        "benchmark": "half",
        "what": "fp16 and bf16 arithmetic in PyTorch against fp32: shares, not percent",
        "size": arguments.imgsz,
        "device": arguments.device,
        "machine": describe_machine(),
        "versions": versions() | {"torch": torch.__version__},
    }
    if arguments.json:
        atomic_write(arguments.json, (json.dumps(result, indent=2) + "\n").encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), half, argv)


if __name__ == "__main__":
    sys.exit(main())
