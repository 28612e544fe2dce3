"""What a layer's function gets: the layer, what it reads, its weights, and where to write nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.caffe.net import Layer
from segnet_deploy.caffe.prototxt import Message
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.passes.graph import Builder, add_initializer
from segnet_deploy.types import Array, Size

_LARGEST_BLOB = 1 << 33  # values
FILLERS = ("weight_filler", "bias_filler", "engine")  # fields that matter only in training


@dataclass(frozen=True)
class Blob:
    """A tensor: its value in the graph, and its shape, (N, C, H, W) or (N, C).

    For the mask of a pool, `value` holds the flat indices into planes of `plane`, the pool's input
    padded to whole windows; `read` is the size of that input, and `kernel` that of the windows.
    """

    value: ir.Value
    shape: tuple[int, ...]
    plane: Size | None = None
    read: Size | None = None
    kernel: Size | None = None


@dataclass
class Context:
    """One layer in the graph that is being built.

    `resized`: the image has another size than the prototxt's, so sizes that the prototxt states
    for that image are computed anew. `statistics`, if not None, collects the mean and the variance
    of every BN layer by its name: BN then normalises each batch by itself, as in training.
    """

    layer: Layer
    bottoms: Sequence[Blob]
    weights: Sequence[Array]
    build: Builder
    resized: bool = False
    statistics: dict[str, tuple[ir.Value, ir.Value]] | None = None

    @property
    def bottom(self) -> Blob:
        """The first blob that the layer reads."""
        return self.bottoms[0]

    def settings(self, name: str, known: Sequence[str]) -> Message:
        """Return the message `name` of the layer. Raises UnsupportedModelError; see Layer."""
        return self.layer.settings(name, known)

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Add a node with one output and return that output."""
        return self.build.op(op_type, *inputs, **attributes)

    def weight(self, number: int, shape: Sequence[int], what: str) -> Array:
        """Return blob `number` of the layer in `shape`; sizes of 1 may be absent or more.

        Raises InputError if the caffemodel has another shape: it belongs to another net.
        """
        if not self.weights:
            raise InputError(
                f"{self.layer}: the caffemodel has no weights for a layer of this name; expected "
                f"{what} {list(shape)}: they belong to different nets"
            )
        if number >= len(self.weights):
            raise InputError(
                f"{self.layer}: the caffemodel has {len(self.weights)} blobs for it; expected "
                f"{what} {list(shape)} as blob {number}: it belongs to another prototxt"
            )
        blob = self.weights[number]
        if [size for size in blob.shape if size != 1] != [size for size in shape if size != 1]:
            raise InputError(
                f"{self.layer}: {what} (blob {number}) has the shape {list(blob.shape)} in the "
                f"caffemodel; the prototxt needs {list(shape)}: they belong to different nets"
            )
        if not np.isfinite(blob).all():
            raise InputError(
                f"{self.layer}: {what} (blob {number}) contains NaN or infinity: training diverged "
                "or the file is damaged; use another snapshot"
            )
        return blob.reshape(tuple(shape))

    def check_blob_count(self, count: int) -> None:
        """Raise InputError if the caffemodel has more blobs for the layer than `count`."""
        if len(self.weights) > count:
            raise InputError(
                f"{self.layer}: the caffemodel has {len(self.weights)} blobs for it; the prototxt "
                f"describes {count}: they belong to different nets"
            )

    def initializer(self, array: Array, what: str) -> ir.Value:
        """Add `array` as an initializer called <layer>.<what> and return it.

        Raises InputError if another layer has the same name.
        """
        if f"{self.layer.name}.{what}" in self.build.graph.initializers:
            raise InputError(
                f"two layers with weights are called '{self.layer.name}'; a caffemodel can "
                "hold the weights of one: rename one in the prototxt"
            )
        return add_initializer(self.build.graph, f"{self.layer.name}.{what}", array)

    def refusal(self, why: str) -> UnsupportedModelError:
        """Return the error for a layer that cannot be exported exactly."""
        return UnsupportedModelError(f"{self.layer} cannot be exported exactly: {why}")

    def require(self, *, rank: int = 4, count: int = 1) -> None:
        """Raise InputError unless the layer reads `count` blobs, the first of `rank` dimensions."""
        if len(self.bottoms) != count:
            raise InputError(f"{self.layer} reads {len(self.bottoms)} blobs; expected {count}")
        if len(self.bottom.shape) != rank:
            raise InputError(f"{self.layer} reads {list(self.bottom.shape)}; expected {rank} sizes")


Convert = Callable[[Context], Sequence[Blob]]
"""A layer's function: it returns one blob for each top."""


def pair(settings: Message, name: str, default: int, layer: Layer) -> Size:
    """Return the two sizes that NAME, or NAME_size, NAME_h and NAME_w, state. Raises InputError."""
    both = settings.integers(f"{name}_size") if name == "kernel" else settings.integers(name)
    sizes = (both * 2)[:2] if both else [default] * 2
    if settings.texts(f"{name}_h") or settings.texts(f"{name}_w"):
        sizes = [settings.integer(f"{name}_{axis}", default) for axis in "hw"]
    smallest = 0 if name in ("pad", "kernel") else 1
    if len(both) > 2 or min(sizes) < smallest or max(sizes) > 1 << 16:
        raise InputError(f"{layer}: {name} is {both or sizes}; expected one or two small numbers")
    return sizes[0], sizes[1]


def axis_of(context: Context, axis: int) -> int:
    """Return `axis`, counted from the front. Raises InputError if the blob has no such axis."""
    rank = len(context.bottom.shape)
    if not -rank <= axis < rank:
        raise InputError(f"{context.layer}: axis {axis} of a blob with {rank} axes")
    return axis % rank


def check_size(shape: Sequence[int], what: object) -> None:
    """Raise InputError if a blob of `shape`, which `what` gives, is empty or absurdly large."""
    if min(shape) < 1 or math.prod(shape) > _LARGEST_BLOB:
        raise InputError(
            f"{what} would give a blob of {list(shape)}; use another --imgsz, or correct the "
            "prototxt"
        )
