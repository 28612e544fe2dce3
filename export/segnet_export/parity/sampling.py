"""Monte Carlo dropout in PyTorch with given masks: what the gate compares a sampling file with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from segnet_deploy.errors import ParityError
from segnet_deploy.types import Array
from segnet_export.dropout_calls import apply_masks

_SMALLEST = float(np.finfo(np.float32).tiny)


class SampledModule(nn.Module):
    """Run `module` on one image with each of S samples of its dropout.

    `masks` has one array for each dropout, (S, C, H, W) uint8. Returns the log probabilities of the
    samples, (S, K, H, W), and the mean over the samples of each further output. Raises ParityError
    if the module has another number of dropouts.

    A module that returns probabilities itself cannot return logs below that of the smallest number:
    `lowest_log` is that bound after a run, and -inf for a module that returns logits.
    """

    def __init__(self, module: nn.Module, masks: Sequence[Array]):
        super().__init__()
        self.module, self.lowest_log = module, -np.inf
        self.masks = [torch.from_numpy(np.array(mask)) for mask in masks]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        calls = apply_masks(self.masks)
        with calls:
            outputs = self.module(x.repeat(len(self.masks[0]), 1, 1, 1))
        if calls.count != len(self.masks):
            raise ParityError(
                f"PyTorch drops values {calls.count} times but the file has {len(self.masks)} masks"
            )
        logits, *others = outputs if isinstance(outputs, tuple) else (outputs,)
        if _are_probabilities(logits):
            logits, self.lowest_log = logits.clamp_min(_SMALLEST).log(), float(np.log(_SMALLEST))
        return (logits.log_softmax(1), *(other.mean(0, keepdim=True) for other in others))


def sample_statistics(log_p: Tensor) -> tuple[Tensor, ...]:
    """Return what a file computes of (S, K, H, W) samples, in the order of its outputs.

    The mean probabilities, (1, K, H, W), and the maps of sampling_names.MAPS, (1, H, W).
    """
    p = log_p.double().exp()
    mean = p.mean(0, keepdim=True)
    entropy = -(mean * mean.clamp_min(_SMALLEST).log()).sum(1)
    within = -(p * log_p).sum(1).mean(0, keepdim=True)
    variance = p.var(0, unbiased=False, keepdim=True).mean(1)
    maps = (variance, entropy, (entropy - within).clamp_min(0), mean.amax(1))
    return tuple(value.float() for value in (mean, *maps))


def _are_probabilities(values: Tensor) -> bool:
    sums = values.sum(1)
    return bool(values.min() >= 0) and bool(((sums - 1).abs() < 1e-4).all())
