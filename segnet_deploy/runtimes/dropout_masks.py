"""Random masks for the inputs of a file that samples its dropout.

The masks of a frame depend only on the seed and the frame's number: they are the same bits in
every runtime and on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segnet_deploy.errors import InputError
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.sampling_names import MASK_PREFIX, is_mask
from segnet_deploy.runtimes.base import Engine, Port
from segnet_deploy.types import Array

_LEVELS = 2**16  # a ratio other than 0.5 is rounded to a multiple of 1 / _LEVELS


class DropoutMasks:
    """Makes the masks of frame after frame: (S, C, H, W) uint8, 0 where an element is dropped.

    `ports` are the inputs of the masks, `ratios` the share of elements that each drops. `seed` and
    `frame`, the number of the next frame, may be set at any time. numpy's Philox generator counts
    from the pair of both, and an element takes one bit of it if the ratio is 0.5, else 16.

    >>> masks = DropoutMasks([Port("dropout_mask_0", (2, 1, 2, 4), np.dtype(np.uint8))], [0.5])
    >>> masks.next()["dropout_mask_0"].reshape(2, 8)
    array([[1, 1, 0, 1, 1, 0, 0, 1],
           [0, 0, 0, 1, 1, 0, 1, 1]], dtype=uint8)
    """

    def __init__(self, ports: Sequence[Port], ratios: Sequence[float], seed: int = 0):
        self.ports = tuple(sorted(ports, key=lambda port: _number(port.name)))
        self.ratios, self.seed, self.frame = tuple(ratios), seed, 0

    @property
    def nbytes(self) -> int:
        """Bytes of the masks of one frame."""
        return sum(math.prod(_static(port)) for port in self.ports)

    def next(self) -> dict[str, Array]:
        """Return the masks of frame number `frame` by the name of their input, and count it."""
        self.frame += 1
        return self.at(self.frame - 1)

    def at(self, frame: int) -> dict[str, Array]:
        """Return the masks of a frame by the name of their input."""
        bits = np.random.Philox(key=[self.seed, frame])
        return {
            port.name: _draw(bits, _static(port), ratio)
            for port, ratio in zip(self.ports, self.ratios, strict=True)
        }


def attach_masks(engine: Engine, metadata: Metadata) -> None:
    """Let `engine` fill the inputs after the first with masks, if `metadata` has dropout ratios.

    Raises InputError if they are not the masks that the metadata describes.
    """
    if not metadata.dropout:
        return
    ports = engine.inputs[1:]
    fits = len(ports) == len(metadata.dropout) and all(is_mask(port.name) for port in ports)
    if not fits or any(None in port.shape or port.dtype != np.uint8 for port in ports):
        raise InputError(
            f"the file has the inputs {', '.join(port.name for port in engine.inputs)}; expected "
            f"an image and {len(metadata.dropout)} dropout masks: export it again with --mc-dropout"
        )
    engine.masks = DropoutMasks(ports, metadata.dropout)


def _number(name: str) -> int:
    return int(name.removeprefix(MASK_PREFIX))


def _static(port: Port) -> tuple[int, ...]:
    return tuple(size or 0 for size in port.shape)


def _draw(bits: np.random.Philox, shape: tuple[int, ...], ratio: float) -> Array:
    count = math.prod(shape)
    if ratio == 0.5:
        words = bits.random_raw(-(-count // 64)).astype("<u8", copy=False)
        return np.unpackbits(words.view(np.uint8), count=count, bitorder="little").reshape(shape)
    words = bits.random_raw(-(-count // 4)).astype("<u8", copy=False)
    levels = words.view("<u2")[:count]
    return (levels >= round(ratio * _LEVELS)).view(np.uint8).reshape(shape)
