"""Run one image through a program: ncnn's nets, and the steps of the host between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segnet_deploy.errors import EngineError
from segnet_deploy.native import max_unpool
from segnet_deploy.runtimes.ncnn.program import HostStep, Program
from segnet_deploy.types import Array, Size

_UNPACKED, _PACKED = 0, 1  # ncnn's numbers: extract one channel per plane, or its own packing


class Execution:
    """The state of one run. Blobs stay in ncnn's memory, with channels packed as ncnn left them."""

    def __init__(self, nets: Sequence[Any], new_mat: Any, program: Program, threads: int):
        self._new_mat, self._program, self._threads = new_mat, program, threads
        self._values: dict[str, Any] = {}
        self._extractors: dict[str, Any] = {}
        for net, translated in zip(nets, program.nets, strict=True):
            self._extractors |= dict.fromkeys(translated.blobs, net.create_extractor())

    def run(self, image: Array, names: Sequence[str]) -> dict[str, Array]:
        """Run `image`, (C, H, W) or a frame (H, W, C); return the outputs called `names`.

        Images and outputs have no batch axis. Raises EngineError, or what ncnn's binding raises.
        """
        self._set_blob(self._program.input_blob, self._input(image))
        for step in self._program.steps:
            self._do(step)
        found = {}
        for name in names:
            codes = self._program.indices.get(name)
            if codes is None:
                found[name] = self._values[self._program.outputs[name]]
            else:
                found[name] = flat_index(*self._values[codes])
        return found

    def _do(self, step: HostStep) -> None:
        getattr(self, f"_{step.kind}")(step)

    def _input(self, image: Array) -> Any:
        """Return the normalised image as the net's (C, H, W) float32 input."""
        order = self._program.channel_order
        if order is not None:
            image = image.transpose(2, 0, 1)[list(order)]
        channels, height, width = image.shape
        mat = self._new_mat(w=width, h=height, c=channels)
        planes = np.asarray(mat)
        planes[...] = image
        for operation, operand in self._program.normalisation:
            operation(planes, operand, out=planes)
        return mat

    def _pool(self, step: HostStep) -> None:
        x = self._packed_planes(step.sources[0])
        size = (x.shape[1], x.shape[2])
        mat, y = self._new_blob(len(x), max_unpool.pooled_size(size, step.ceil_mode), x)
        codes = max_unpool.pool(x, y, step.ceil_mode, self._threads)
        self._set_blob(step.results[0], mat)
        self._values[step.results[1]] = (codes, size, step.ceil_mode)

    def _unpool(self, step: HostStep) -> None:
        y = self._packed_planes(step.sources[0])
        codes, size, ceil_mode = self._values[step.sources[1]]
        if y.shape != codes.shape:
            y = repack(y, codes.shape[3])
        if y.shape != codes.shape:
            raise EngineError(
                f"MaxUnpool received {_unpacked_shape(y)} (C, H, W), but its pool returned "
                f"{_unpacked_shape(codes)}"
            )
        if step.ceil_mode != ceil_mode and (size[0] % 2 or size[1] % 2):
            raise EngineError(f"MaxUnpool without output_shape at the odd size {size[0]}x{size[1]}")
        mat, x = self._new_blob(len(codes), size, y)
        max_unpool.unpool(y, codes, x, ceil_mode, self._threads)
        self._set_blob(step.results[0], mat)

    def _transfer(self, step: HostStep) -> None:
        self._set_blob(step.results[0], self._extract(step.sources[0], _PACKED))

    def _labels(self, step: HostStep) -> None:
        self._values[step.results[0]] = max_unpool.label_map(self._unpacked(step.sources[0]))

    def _cast(self, step: HostStep) -> None:
        labels = self._values[step.sources[0]]
        self._values[step.results[0]] = labels.astype(step.dtype, copy=False)

    def _output(self, step: HostStep) -> None:
        if step.sources[0] not in self._values:
            self._values[step.sources[0]] = self._unpacked(step.sources[0])

    def _set_blob(self, name: str, mat: Any) -> None:
        if self._extractors[name].input(name, mat):
            raise EngineError(f"the net has no input blob {name}")

    def _extract(self, name: str, packing: int) -> Any:
        extractor = self._extractors[name]
        status, mat = extractor.extract(name, packing)
        if status or mat.empty():
            raise EngineError(f"blob {name} was not computed (status {status}): out of memory?")
        extractor.input(name, self._new_mat())  # so that the net releases it
        return mat

    def _unpacked(self, name: str) -> Array:
        """Return a copy of a blob as (C, H, W); that of a global pool has one axis in ncnn.

        The blob itself is in a pool of the engine, which may be released before the result.
        """
        array: Array = np.array(self._extract(name, _UNPACKED))
        return array if array.ndim == 3 else array.reshape(-1, 1, 1)

    def _packed_planes(self, name: str) -> Array:
        """Return the memory of a blob as planes (P, H, W, K), without a copy."""
        return self._as_planes(self._extract(name, _PACKED))

    def _new_blob(self, planes: int, size: Size, like: Array) -> tuple[Any, Array]:
        """Return a new blob, packed and typed as the planes `like`, and its memory as planes."""
        pack, element_bytes = like.shape[3], like.itemsize
        mat = self._new_mat(
            w=size[1], h=size[0], c=planes, elemsize=element_bytes * pack, elempack=pack
        )
        return mat, self._as_planes(mat)

    def _as_planes(self, mat: Any) -> Array:
        # numpy does not accept packed blobs: this is the same memory with wider rows.
        flat, pack = self._new_mat(mat), mat.elempack
        flat.elempack, flat.elemsize = 1, mat.elemsize // pack
        flat.w, flat.cstep = mat.w * pack, mat.cstep * pack
        return np.asarray(flat).reshape(mat.c, mat.h, mat.w, pack)


def _unpacked_shape(planes: Array) -> tuple[int, int, int]:
    count, height, width, pack = planes.shape
    return count * pack, height, width


def flat_index(codes: Array, size: Size, ceil_mode: bool) -> Array:
    """Return ONNX's flat index, (C, Ho, Wo) int64, as in a batch of one.

    `codes` are planes (P, Ho, Wo, K) from a pool whose input has `size`. In ceil mode the index
    counts in planes that are padded to even sizes.
    """
    count, height, width, pack = codes.shape
    code = codes.transpose(0, 3, 1, 2).reshape(count * pack, height, width).astype(np.int64)
    rows, columns = (s + s % 2 if ceil_mode else s for s in size)
    row = 2 * np.arange(height)[:, None] + code // 2
    column = 2 * np.arange(width) + code % 2
    start = np.arange(len(code))[:, None, None] * (rows * columns)
    index: Array = start + row * columns + column
    return index


def repack(planes: Array, pack: int) -> Array:
    """Return planes (P, H, W, K) with `pack` channels per plane instead of K."""
    _, height, width, _ = planes.shape
    channels = planes.transpose(0, 3, 1, 2).reshape(-1, pack, height, width)
    return np.ascontiguousarray(channels.transpose(0, 2, 3, 1))
