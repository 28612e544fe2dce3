"""Write the results of a shard: a Parquet file, a WebDataset tar, or label PNGs."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.batch.archive import Shard
from segnet_deploy.batch.items import Item
from segnet_deploy.batch.storage import join, storage_of
from segnet_deploy.frames import encode_png
from segnet_deploy.optional import require
from segnet_deploy.types import Frame

_ROWS = 64  # of a Parquet file in memory


@dataclass(frozen=True)
class Labelled:
    """The result of one input: labels, (H, W) uint8, pixels per class, and inference time."""

    item: Item
    labels: Frame
    histogram: list[int]
    milliseconds: float

    def facts(self, engine: str) -> dict[str, Any]:
        """Return everything but the label map; `engine` is the engine's SHA-256."""
        return {
            "path": self.item.path,
            "part": self.item.part,
            "seconds": self.item.seconds,
            "height": int(self.labels.shape[0]),
            "width": int(self.labels.shape[1]),
            "histogram": self.histogram,
            "engine": engine,
            "milliseconds": self.milliseconds,
        }


def count_labels(labels: Frame, classes: int) -> list[int]:
    """Return the number of pixels of each class, at least `classes` numbers.

    >>> count_labels(np.array([[0, 2], [2, 2]], np.uint8), 4)
    [1, 0, 3, 0]
    """
    counts: list[int] = np.bincount(labels.ravel(), minlength=classes).tolist()
    return counts


class Output(ABC):
    """What receives the results of one shard, in order."""

    @abstractmethod
    def add(self, result: Labelled) -> None:
        """Write one result. Raises InputError."""


@contextlib.contextmanager
def open_output(
    folder: str, shard: Shard, form: str, engine: str, with_labels: bool
) -> Iterator[Output]:
    """Yield the output of a shard; its files are complete when the block ends without an error.

    Raises InputError if they cannot be written.
    """
    if form == "png":
        yield _LabelImages(folder)
        return
    name = output_file(shard, form)
    assert name is not None
    with storage_of(folder).write(join(folder, name)) as temporary:
        opened = _ParquetFile if form == "parquet" else _TarFile
        with opened(temporary, engine, with_labels) as output:
            yield output


def output_file(shard: Shard, form: str) -> str | None:
    """Return the name of a shard's file; None if it has one file per input."""
    suffix = {"parquet": "parquet", "webdataset": "tar"}.get(form)
    return suffix and f"part-{shard.label}.{suffix}"


class _LabelImages(Output):
    def __init__(self, folder: str):
        self._folder, self._storage = folder, storage_of(folder)

    def add(self, result: Labelled) -> None:
        name = join(self._folder, f"{result.item.name}.png")
        self._storage.write_bytes(name, encode_png(result.labels))


class _TarFile(Output):
    """Members KEY.labels.png and KEY.labels.json."""

    def __init__(self, path: Path, engine: str, with_labels: bool):
        self._engine, self._with_labels = engine, with_labels
        self._file = tarfile.open(path, "w")  # noqa: SIM115 - closed by __exit__

    def add(self, result: Labelled) -> None:
        if self._with_labels:
            self._write(f"{result.item.key}.labels.png", encode_png(result.labels))
        facts = json.dumps(result.facts(self._engine))
        self._write(f"{result.item.key}.labels.json", facts.encode())

    def _write(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._file.addfile(member, io.BytesIO(data))

    def __enter__(self) -> _TarFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _ParquetFile(Output):
    """One row per input; rows are written in groups, so that memory stays small."""

    def __init__(self, path: Path, engine: str, with_labels: bool):
        self._engine, self._with_labels = engine, with_labels
        self._pyarrow: Any = require("pyarrow", extra="batch")
        parquet: Any = require("pyarrow.parquet", extra="batch")
        self._schema = _schema(self._pyarrow, with_labels)
        self._rows: list[dict[str, Any]] = []
        self._file = parquet.ParquetWriter(str(path), self._schema)

    def add(self, result: Labelled) -> None:
        row = result.facts(self._engine)
        if self._with_labels:
            row["labels"] = encode_png(result.labels)
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_batch(
                self._pyarrow.RecordBatch.from_pylist(self._rows, schema=self._schema)
            )
            self._rows.clear()

    def __enter__(self) -> _ParquetFile:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._file.close()


def _schema(pa: Any, with_labels: bool) -> Any:
    fields = [
        ("path", pa.string()),
        ("part", pa.string()),
        ("seconds", pa.float64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("histogram", pa.list_(pa.int64())),
        ("engine", pa.string()),
        ("milliseconds", pa.float64()),
    ]
    return pa.schema([*fields, *([("labels", pa.binary())] if with_labels else [])])
