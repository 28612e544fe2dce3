"""Count the pooling indices that two files choose differently, by stage."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy import runtimes
from segnet_deploy.accuracy.expose_indices import IndexedModel, write_indexed_model
from segnet_deploy.errors import InputError
from segnet_deploy.runtimes.base import Engine, is_engine_file
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Array


def check_files(files: Sequence[str]) -> None:
    """Raise InputError if one of `files` is an engine."""
    for path in files:
        if is_engine_file(path):
            raise InputError(
                f"{path} is an engine, whose indices cannot be read; give the .onnx files"
            )


class IndexFlips:
    """Counts over frames: the windows of each pooling stage, and those with another index.

    Both files run once more, with their indices as outputs, in the runtimes of the segmenters, on
    `threads` threads (None: the runtime's choice). Raises InputError for an engine, and if the
    files have different pools.
    """

    def __init__(
        self,
        files: tuple[str, str],
        segmenters: tuple[Segmenter, Segmenter],
        threads: int | None = None,
    ):
        check_files(files)
        self._segmenters, self._threads = segmenters, threads
        self._opened = contextlib.ExitStack()
        try:
            folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory()))
            self._indexed = [
                self._open(path, segmenter, folder / str(number))
                for number, (path, segmenter) in enumerate(zip(files, segmenters, strict=True))
            ]
            first, second = (len(indexed.stages) for indexed, _ in self._indexed)
            if first != second:
                raise InputError(f"{files[0]} has {first} pools with indices, {files[1]} {second}")
        except BaseException:
            self._opened.close()
            raise
        self.flips, self.windows = [0] * first, [0] * first

    def add(self, frame: Any) -> None:
        """Run both on `frame`, (H, W, 3) uint8, and count."""
        chosen = [
            _indices(indexed, engine, segmenter.preprocess([frame]).x, segmenter.metadata.io)
            for (indexed, engine), segmenter in zip(self._indexed, self._segmenters, strict=True)
        ]
        for stage, (one, other) in enumerate(zip(*chosen, strict=True)):
            if one.shape != other.shape:
                raise InputError(f"pooling stage {stage + 1} is {one.shape} and {other.shape}")
            self.flips[stage] += int((one != other).sum())
            self.windows[stage] += one.size

    def close(self) -> None:
        """Close both engines and remove their files."""
        self._opened.close()

    def __enter__(self) -> IndexFlips:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(
        self, path: str | os.PathLike[str], segmenter: Segmenter, folder: Path
    ) -> tuple[IndexedModel, Engine]:
        folder.mkdir()
        indexed, target = write_indexed_model(path, segmenter.engine.lowered, folder)
        engine = runtimes.open(target, segmenter.engine.name, self._threads)
        self._opened.callback(engine.close)
        return indexed, engine


def _indices(indexed: IndexedModel, engine: Engine, x: Array, io: str) -> list[Array]:
    """Return each stage's indices into its input plane, whose size the stage before gives."""
    outputs = engine.run_all(np.ascontiguousarray(x))
    size = (x.shape[1], x.shape[2]) if io == "frame" else (x.shape[2], x.shape[3])
    found = []
    for stage in range(len(indexed.stages)):
        found.append(indexed.plane_index(stage, outputs, size).copy())
        size = (found[-1].shape[2], found[-1].shape[3])
    return found
