"""What a comparison of two files feeds them: natural images, noise, and tied windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segnet_deploy.geometry import fit_frame, place
from segnet_deploy.metadata import Metadata
from segnet_deploy.scenes import draw_scene
from segnet_deploy.types import Array, Frame

BatchSize = tuple[int, int, int]
"""(batch, height, width)."""


@dataclass(frozen=True)
class GateInput:
    """One input: `feed` is what a file takes, `x` the same as (N, C, H, W) float32.

    They differ for files with frame io, where `feed` is (N, H, W, 3) uint8 BGR.
    """

    name: str
    feed: Array
    x: Array

    @property
    def adversarial(self) -> bool:
        """Whether its windows are tied by construction: the number of flips is not limited."""
        return self.name.startswith("adversarial")

    @property
    def shape(self) -> str:
        """The shape of `feed`, such as 1x3x360x480."""
        return "x".join(map(str, self.feed.shape))


class InputMaker:
    """Makes the inputs for one file: its channels, normalisation and io.

    `mean` and `std` are on the 0-255 scale in the model's `channel_order`; `images` are
    (H, W, 3) uint8 BGR frames, by default drawn street scenes.
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

    @classmethod
    def of(cls, metadata: Metadata, channels: int, images: Sequence[Frame] = ()) -> InputMaker:
        """Return the maker for a file with this metadata."""
        order = metadata.channel_order
        return cls(channels, metadata.mean, metadata.std, order, metadata.io, images)

    def make(self, sizes: Sequence[BatchSize]) -> list[GateInput]:
        """Return natural inputs of every size, and all images, noise and ties at the first."""
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
            inputs.append(GateInput("adversarial negative", x, x))
        return inputs

    def natural(self, size: BatchSize, start: int = 0) -> GateInput:
        """Return the images from number `start` on, or drawn streets, at `size`."""
        return self._from_frames("natural", self._natural(*size, start))

    def _from_frames(self, name: str, frames: Frame) -> GateInput:
        x = self._normalised(frames)
        return GateInput(name, frames if self._io == "frame" else x, x)

    def _normalised(self, frames: Frame) -> Array:
        """(N, H, W, C) uint8 BGR -> (N, C, H, W) float32, as the device computes it."""
        x = frames.transpose(0, 3, 1, 2).astype(np.float32)
        if self._channels == 3:
            x = x[:, ::-1] if self._order == "rgb" else x
            x = (x - self._mean.reshape(1, 3, 1, 1)) / self._std.reshape(1, 3, 1, 1)
        return np.ascontiguousarray(x, np.float32)

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
        """Return blocks of equal values (ties in every window), one value, black and white dots."""
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
