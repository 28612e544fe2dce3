"""What the gate feeds: a natural image, noise, and what breaks wrong unpoolings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segnet_deploy.geometry import fit_frame, place
from segnet_deploy.scenes import draw_scene
from segnet_deploy.types import Frame
from segnet_export.parity.compare import GateInput

Size = tuple[int, int, int]  # batch, height, width


class InputMaker:
    """Builds gate inputs for one file: its channels, normalisation and io.

    `mean` and `std` are on the 0-255 scale in the model's `channel_order`.
    """

    def __init__(
        self,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        channel_order: str,
        io: str,
        images: Sequence[Frame] = (),
    ):
        self._channels, self._io, self._order = channels, io, channel_order
        self._mean = np.asarray(mean, np.float32)
        self._std = np.asarray(std, np.float32)
        self._images = images

    def make(self, sizes: Sequence[Size]) -> list[GateInput]:
        """Return natural inputs of every size; all images, noise and ties at the first."""
        first = sizes[0]
        inputs = [self.natural(size) for size in sizes]
        for start in range(first[0], len(self._images), first[0]):
            inputs.append(self.natural(first, start))
        inputs.append(self._from_frames("random", self._noise(*first)))
        inputs += [
            self._from_frames(f"adversarial {name}", frames)
            for name, frames in self._adversarial(*first).items()
        ]
        if self._io == "tensor":
            x = -np.abs(inputs[-1].feed) - np.float32(0.5)
            inputs.append(GateInput("adversarial negative", x, torch.from_numpy(x)))
        return inputs

    def natural(self, size: Size, start: int = 0) -> GateInput:
        """Return the images from number `start` on, or drawn streets, at `size`."""
        return self._from_frames("natural", self._natural(*size, start))

    def _from_frames(self, name: str, frames: Frame) -> GateInput:
        x = self._normalised(frames)
        feed = frames if self._io == "frame" else x.numpy()
        return GateInput(name, feed, x)

    def _normalised(self, frames: Frame) -> Tensor:
        """(N, H, W, C) uint8 BGR -> (N, C, H, W) float32, as the device does it."""
        x = frames.transpose(0, 3, 1, 2).astype(np.float32)
        if self._channels == 3:
            x = x[:, ::-1] if self._order == "rgb" else x
            x = (x - self._mean.reshape(1, 3, 1, 1)) / self._std.reshape(1, 3, 1, 1)
        return torch.from_numpy(np.ascontiguousarray(x, np.float32))

    def _natural(self, batch: int, height: int, width: int, start: int) -> Any:
        if self._images:
            chosen = [self._images[(start + i) % len(self._images)] for i in range(batch)]
            size = (height, width)
            frames = [
                fit_frame(f, size, place(f.shape[:2], size, "stretch"), (0, 0, 0)) for f in chosen
            ]
        else:
            frames = [draw_scene(seed, height, width).frame for seed in range(batch)]
        stacked = np.stack(frames)
        if self._channels == 3:
            return stacked
        copies = -(-self._channels // 3)
        return np.concatenate([stacked] * copies, axis=3)[..., : self._channels]

    def _noise(self, batch: int, height: int, width: int) -> Any:
        rng = np.random.default_rng(1)
        return rng.integers(0, 256, (batch, height, width, self._channels), np.uint8)

    def _adversarial(self, batch: int, height: int, width: int) -> dict[str, Any]:
        """Blocks of equal values (ties in every window), one value, black and white dots."""
        rng = np.random.default_rng(2)
        shape = (batch, -(-height // 8), -(-width // 8), self._channels)
        coarse = rng.integers(0, 3, shape).astype(np.uint8) * 120
        blocks = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
        full = (batch, height, width, self._channels)
        return {
            "ties": np.ascontiguousarray(blocks),
            "constant": np.full(full, 128, np.uint8),
            "two values": (rng.integers(0, 2, full) * 255).astype(np.uint8),
        }
