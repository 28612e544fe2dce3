"""SegNet in PyTorch: a checkpoint or random weights, as an engine and as an ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.function_engine import FunctionEngine
from segnet_deploy.runtimes.model_file import save_model
from segnet_deploy.types import Array, Size
from segnet_export import ExportOptions
from segnet_export.checkpoints import load_checkpoint
from segnet_export.exporter import finish
from segnet_export.models import SegNet, SegNetConfig
from segnet_export.torch_graph import to_onnx

CLASSES = 11
EAGER = "PyTorch eager"


class TorchEngine(FunctionEngine):
    """Run a module, or any function of a tensor, as an engine in PyTorch.

    `call` maps images, (1, 3, H, W) float32 of `size`, to logits, (1, CLASSES, H, W) float32.
    """

    def __init__(self, name: str, call: Callable[[Tensor], Tensor], size: Sequence[int]):
        def run(x: Array) -> Array:
            with torch.inference_mode():
                logits: Array = call(torch.from_numpy(x)).numpy()
            return logits

        image = Port("image", (1, 3, *size), np.dtype(np.float32))
        logits = Port("logits", (1, CLASSES, *size), np.dtype(np.float32))
        super().__init__(run, [image], [logits], name=name, computes_half=True)


def load_network(checkpoint: str | None) -> nn.Module:
    """Return the network of `checkpoint`, or the full SegNet with random weights of seed 0."""
    if checkpoint:
        return load_checkpoint(checkpoint).model
    torch.manual_seed(0)
    return SegNet(SegNetConfig.standard(CLASSES)).eval()


def describe_weights(checkpoint: str | None) -> str:
    """Return what a result file records about the weights."""
    return "checkpoint" if checkpoint else "random, seed 0"


def write_onnx(
    module: nn.Module, path: Path, size: Size, options: ExportOptions | None = None
) -> None:
    """Export `module` for images of `size` to `path`, without the parity gate."""
    model, _ = to_onnx(module, torch.zeros(1, 3, *size))
    finish(model, CLASSES, options or ExportOptions())
    save_model(model, path)
