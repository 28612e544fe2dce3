"""Export and training cost of the paper's networks, in a child process for each call.

Weights are seeded: time and memory do not depend on them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segnet_deploy.bench.timing import Timing
from segnet_deploy.system.child_process import serve
from segnet_deploy.system.memory import peak_rss_bytes, rss_bytes
from segnet_export.exporter import export
from segnet_export.models import create

MEAN, STD = (104.0, 117.0, 123.0), (58.0, 58.0, 58.0)
TRAINING_BATCH = 4  # the paper's


def export_network(
    name: str, path: str, classes: int, size: list[int], width: int, runtime: str, adversarial: bool
) -> str:
    """Export one network and return the parity gate's table.

    `adversarial` also gates on constructed ties. Raises SegNetError.
    """
    result = export(
        create(name, classes, width=width, size=(size[0], size[1])),
        torch.zeros(1, 3, *size),
        path,
        mean=MEAN,
        std=STD,
        network=name,
        runtimes=None if runtime == "auto" else [runtime],
        adversarial=adversarial,
    )
    return str(result.gate)


def training_cost(
    name: str, classes: int, size: list[int], width: int, threads: int | None, runs: int
) -> dict[str, Any]:
    """Return PyTorch's seconds of a backward pass at batch 1, and a step's memory at batch 4.

    The step is forward, cross-entropy, backward and SGD with momentum. Memory is the peak of the
    process; `training_added_bytes` is that above the process with torch loaded.
    """
    if threads:
        torch.set_num_threads(threads)
    F.conv2d(torch.zeros(1, 3, 16, 16), torch.zeros(3, 3, 3, 3))
    baseline = rss_bytes() or 0
    module = create(name, classes, width=width, size=(size[0], size[1]))
    for layer in module.modules():  # whole-map layers have one value per channel at batch 1
        layer.train(not isinstance(layer, nn.BatchNorm2d))
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-6, momentum=0.9)
    passes = [_forward_and_backward(module, optimiser, 1, size) for _ in range(runs + 1)]
    _forward_and_backward(module, optimiser, TRAINING_BATCH, size)
    optimiser.step()
    peak = peak_rss_bytes() or 0
    forward, backward = (Timing(tuple(times)) for times in zip(*passes[1:], strict=True))
    return {
        "seconds": backward.summary(),
        "forward_seconds": forward.summary(),
        "samples": {"forward": list(forward.samples), "backward": list(backward.samples)},
        "training_bytes": peak,
        "training_added_bytes": peak - baseline,
        "batch": TRAINING_BATCH,
        "torch": torch.__version__,
    }


def _forward_and_backward(
    module: nn.Module, optimiser: torch.optim.Optimizer, batch: int, size: list[int]
) -> tuple[float, float]:
    """Return the seconds of the forward pass with its loss, and of the backward pass."""
    x, labels = torch.randn(batch, 3, *size), torch.zeros(batch, *size, dtype=torch.long)
    optimiser.zero_grad()
    started = time.perf_counter()
    loss: Tensor = F.cross_entropy(module(x), labels)
    forward = time.perf_counter()
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
    return forward - started, time.perf_counter() - forward


TASKS: dict[str, Callable[..., Any]] = {"export": export_network, "training_cost": training_cost}

if __name__ == "__main__":
    sys.exit(serve(TASKS))
