"""CamVid's frames as batches, whose order and flips depend on the seed only; class weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from torch import Tensor

from segnet_deploy.accuracy.datasets import Example
from segnet_deploy.classes import load_classes
from segnet_deploy.types import Frame

CLASSES = 11
NAMES = load_classes("camvid", CLASSES).names
MEAN, STD = (104.0, 117.0, 123.0), (58.0, 58.0, 58.0)  # BGR, 0-255 scale


def read(example: Example, size: Sequence[int]) -> tuple[Frame, Frame]:
    """Return (H, W, 3) uint8 BGR and (H, W) uint8 labels at `size`. Raises InputError."""
    frame, truth = example.frame(), example.truth(CLASSES)
    wanted = (size[1], size[0])
    if frame.shape[:2] != tuple(size):
        frame = np.asarray(cv2.resize(frame, wanted, interpolation=cv2.INTER_AREA), np.uint8)
    if truth.shape != tuple(size):
        truth = np.asarray(cv2.resize(truth, wanted, interpolation=cv2.INTER_NEAREST), np.uint8)
    return frame, truth


def normalise(frames: Tensor) -> Tensor:
    """Return float32 input from (N, 3, H, W) uint8 BGR frames."""
    shape = (1, 3, 1, 1)
    mean, std = (torch.tensor(v, device=frames.device).view(shape) for v in (MEAN, STD))
    return (frames.float() - mean) / std


def class_weights(examples: Sequence[Example], size: Sequence[int]) -> Tensor:
    """Return the median-frequency weights of the classes (paper, section 4.1; Eigen 2015).

    A class's frequency is its share of the pixels of the images that contain it; its weight is
    the median frequency divided by its own. Void counts as a twelfth class for the median, as in
    the weights that the authors published; a class that never occurs has weight 0.
    """
    pixels, present = np.zeros(CLASSES + 1), np.zeros(CLASSES + 1)
    for example in examples:
        _, truth = read(example, size)
        counts = np.bincount(np.minimum(truth, CLASSES).ravel(), minlength=CLASSES + 1)
        pixels += counts
        present += (counts > 0) * truth.size
    known = present > 0
    frequency = np.divide(pixels, present, out=np.zeros(CLASSES + 1), where=known)
    weights = np.divide(
        np.median(frequency[known]), frequency, out=np.zeros(CLASSES + 1), where=known
    )
    return torch.from_numpy(weights[:CLASSES]).float()


class Batches:
    """Whole batches by step, shuffled each epoch; each image is flipped with probability 1/2.

    The images that remain after an epoch's last whole batch are used in other epochs.
    """

    def __init__(
        self, examples: Sequence[Example], size: Sequence[int], batch: int, seed: int, flips: bool
    ):
        self._examples, self._size, self._flips, self._seed = examples, size, flips, seed
        self._batch = min(batch, len(examples))
        self.per_epoch = len(examples) // self._batch

    def picks(self, step: int) -> list[tuple[int, bool]]:
        """Return each image's index and flip in one step; they depend on seed and step only."""
        epoch, place = divmod(step, self.per_epoch)
        generator = np.random.default_rng((self._seed, epoch))
        order = generator.permutation(len(self._examples))
        flipped = generator.random(len(order)) < 0.5
        chosen = order[place * self._batch : (place + 1) * self._batch]
        return [(int(i), bool(flipped[i]) and self._flips) for i in chosen]

    def load(self, step: int) -> tuple[Tensor, Tensor]:
        """Return (N, 3, H, W) uint8 frames and (N, H, W) int64 labels. Raises InputError."""
        frames, labels = [], []
        for place, flip in self.picks(step):
            frame, truth = read(self._examples[place], self._size)
            frames.append((frame[:, ::-1] if flip else frame).transpose(2, 0, 1))
            labels.append(truth[:, ::-1] if flip else truth)
        return torch.from_numpy(np.stack(frames)), torch.from_numpy(np.stack(labels)).long()

    def steps(self, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of steps [first, last); the next one is read in the background."""
        with ThreadPoolExecutor(1) as pool:
            ready = pool.submit(self.load, first) if first < last else None
            for step in range(first, last):
                assert ready is not None
                batch = ready.result()
                if step + 1 < last:
                    ready = pool.submit(self.load, step + 1)
                yield batch
