"""Execute a program for one image: ncnn's nets, and the host steps between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segnet_deploy.errors import EngineError
from segnet_deploy.native import max_unpool
from segnet_deploy.runtimes.ncnn.program import Program, Step
from segnet_deploy.types import Array

_PLAIN, _PACKED = 0, 1  # extract a blob unpacked, or in its memory layout


class Execution:
    """Blobs stay in ncnn's memory, channels packed as its convolutions left them."""

    def __init__(self, nets: Sequence[Any], new_mat: Any, program: Program, threads: int):
        self._mat, self._program, self._threads = new_mat, program, threads
        self._blobs: dict[str, Any] = {}
        self._extractors: dict[str, Any] = {}
        for net, made in zip(nets, program.nets, strict=True):
            self._extractors |= dict.fromkeys(made.blobs, net.create_extractor())

    def run(self, image: Array, names: Sequence[str]) -> dict[str, Array]:
        """Run `image`, (C, H, W) or a frame (H, W, C); return outputs without a batch axis."""
        self._give(self._program.image, self._input(image))
        for step in self._program.steps:
            self._do(step)
        found = {}
        for name in names:
            codes = self._program.indices.get(name)
            if codes is None:
                found[name] = self._blobs[self._program.outputs[name]]
            else:
                found[name] = flat_index(*self._blobs[codes])
        return found

    def _do(self, step: Step) -> None:
        getattr(self, f"_{step.kind}")(step)

    def _input(self, image: Array) -> Any:
        """Return the normalised image as the net's (C, H, W) float32 input."""
        order = self._program.order
        if order is not None:
            image = image.transpose(2, 0, 1)[list(order)]
        channels, height, width = image.shape
        mat = self._mat(w=width, h=height, c=channels)
        planes = np.asarray(mat)
        planes[...] = image
        for operation, operand in self._program.front:
            operation(planes, operand, out=planes)
        return mat

    def _pool(self, step: Step) -> None:
        x = self._view(step.sources[0])
        size = (x.shape[1], x.shape[2])
        mat, y = self._make(len(x), max_unpool.pooled_size(size, step.ceil_mode), x)
        codes = max_unpool.pool(x, y, step.ceil_mode, self._threads)
        self._give(step.results[0], mat)
        self._blobs[step.results[1]] = (codes, size, step.ceil_mode)

    def _unpool(self, step: Step) -> None:
        y = self._view(step.sources[0])
        codes, size, ceil_mode = self._blobs[step.sources[1]]
        if y.shape != codes.shape:
            y = repack(y, codes.shape[3])
        if y.shape != codes.shape:
            raise EngineError(
                f"MaxUnpool of {_plain_shape(y)} (C, H, W), but its pool made {_plain_shape(codes)}"
            )
        mat, x = self._make(len(codes), size, y)
        max_unpool.unpool(y, codes, x, ceil_mode, self._threads)
        self._give(step.results[0], mat)

    def _carry(self, step: Step) -> None:
        self._give(step.results[0], self._extract(step.sources[0], _PACKED))

    def _labels(self, step: Step) -> None:
        self._blobs[step.results[0]] = max_unpool.label_map(self._array(step.sources[0]))

    def _cast(self, step: Step) -> None:
        labels = self._blobs[step.sources[0]]
        self._blobs[step.results[0]] = labels.astype(step.dtype, copy=False)

    def _output(self, step: Step) -> None:
        if step.sources[0] not in self._blobs:
            self._blobs[step.sources[0]] = self._array(step.sources[0])

    def _give(self, name: str, mat: Any) -> None:
        if self._extractors[name].input(name, mat):
            raise EngineError(f"the net has no input {name}")

    def _extract(self, name: str, layout: int) -> Any:
        extractor = self._extractors[name]
        status, mat = extractor.extract(name, layout)
        if status or mat.empty():
            raise EngineError(f"blob {name} was not computed (status {status}): out of memory?")
        extractor.input(name, self._mat())  # so that the net frees it
        return mat

    def _array(self, name: str) -> Array:
        """Return a blob as (C, H, W); a global pool's has one axis only."""
        array: Array = np.asarray(self._extract(name, _PLAIN))
        return array if array.ndim == 3 else array.reshape(-1, 1, 1)

    def _view(self, name: str) -> Array:
        """Return a blob's own memory as planes (P, H, W, K)."""
        return self._planes(self._extract(name, _PACKED))

    def _make(self, planes: int, size: tuple[int, int], like: Array) -> tuple[Any, Array]:
        """Return a new blob, packed and typed as the planes `like`, and its memory as planes."""
        pack, wide = like.shape[3], like.itemsize
        mat = self._mat(w=size[1], h=size[0], c=planes, elemsize=wide * pack, elempack=pack)
        return mat, self._planes(mat)

    def _planes(self, mat: Any) -> Array:
        # numpy sees no packed blob: this is the same memory with wider rows.
        flat, pack = self._mat(mat), mat.elempack
        flat.elempack, flat.elemsize = 1, mat.elemsize // pack
        flat.w, flat.cstep = mat.w * pack, mat.cstep * pack
        return np.asarray(flat).reshape(mat.c, mat.h, mat.w, pack)


def _plain_shape(planes: Array) -> tuple[int, int, int]:
    count, height, width, pack = planes.shape
    return count * pack, height, width


def flat_index(codes: Array, size: tuple[int, int], ceil_mode: bool) -> Array:
    """Return ONNX's flat index, (C, Ho, Wo) int64, as in a batch of one.

    `codes` are planes (P, Ho, Wo, K) of a pool of `size`; ceil mode counts in planes that
    are padded to even sizes.
    """
    count, height, width, pack = codes.shape
    code = codes.transpose(0, 3, 1, 2).reshape(count * pack, height, width).astype(np.int64)
    rows, columns = (s + s % 2 if ceil_mode else s for s in size)
    row = 2 * np.arange(height)[:, None] + code // 2
    column = 2 * np.arange(width) + code % 2
    start = np.arange(len(code))[:, None, None] * (rows * columns)
    found: Array = start + row * columns + column
    return found


def repack(planes: Array, pack: int) -> Array:
    """Return planes (P, H, W, K) with `pack` channels side by side."""
    _, height, width, _ = planes.shape
    channels = planes.transpose(0, 3, 1, 2).reshape(-1, pack, height, width)
    return np.ascontiguousarray(channels.transpose(0, 2, 3, 1))
