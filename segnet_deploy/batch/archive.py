"""What an archive is: images, videos, tars and Parquet files, and their deterministic shards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from segnet_deploy.batch.storage import (
    absolute,
    has_pattern,
    is_uri,
    pattern_start,
    plain,
    split_query,
    storage_of,
)
from segnet_deploy.errors import InputError, UnreadableInputError
from segnet_deploy.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_video
from segnet_deploy.optional import require
from segnet_deploy.progress import Progress, silent

TAR_SUFFIXES = frozenset((".tar", ".tgz"))
PARQUET_SUFFIXES = frozenset((".parquet", ".pq"))
SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES | TAR_SUFFIXES | PARQUET_SUFFIXES


@dataclass(frozen=True)
class Shard:
    """The unit of work: some images, or one video, one tar, or one row group of a Parquet file.

    `paths` are the files, and `names` what their results are called, unique in the archive.
    `row_group`, `first_row` and the number of `rows` are those of a Parquet file.
    """

    number: int
    kind: str
    paths: tuple[str, ...]
    names: tuple[str, ...]
    row_group: int = 0
    first_row: int = 0
    rows: int = 0

    @property
    def label(self) -> str:
        """The shard in names of files, such as 000012."""
        return f"{self.number:06d}"


class UniqueNames:
    """Names of results: as given, and with a number if a name was used before."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def add(self, name: str) -> str:
        """Return `name`, or `name-2` and so on.

        >>> names = UniqueNames()
        >>> [names.add(name) for name in ("a", "a", "a-2", "a")]
        ['a', 'a-2', 'a-2-2', 'a-3']
        """
        unique = name
        while unique in self._next:
            self._next[name] += 1
            unique = f"{name}-{self._next[name]}"
        self._next[unique] = 1
        return unique


def find_shards(
    inputs: Sequence[str | os.PathLike[str]], shard_size: int = 256, progress: Progress = silent
) -> list[Shard]:
    """Return the shards of `inputs`: files, folders (not recursive) and patterns, paths or URIs.

    The same files give the same shards. A file that is found twice is taken once. Raises
    InputError (no such input, nothing to segment), UnreadableInputError (a Parquet file) or
    MissingDependencyError.
    """
    shards: list[Shard] = []
    pending: list[tuple[str, str]] = []

    def flush() -> None:
        if pending:
            paths, names = zip(*pending, strict=True)
            shards.append(Shard(len(shards), "image", paths, names))
            pending.clear()

    for path, name in _find_files(inputs, progress):
        kind = kind_of(path)
        if kind == "image":
            pending.append((path, name))
            if len(pending) == shard_size:
                flush()
            continue
        flush()
        if kind == "parquet":
            first = 0
            for group, rows in enumerate(_row_groups(path)):
                shards.append(Shard(len(shards), kind, (path,), (name,), group, first, rows))
                first += rows
        else:
            shards.append(Shard(len(shards), kind, (path,), (name,)))
    flush()
    return shards


def kind_of(path: str) -> str:
    """Return image, video, tar or parquet: by the suffix, else by the content as segnet-predict."""
    suffix = _suffix(path)
    if suffix in TAR_SUFFIXES or split_query(path)[0].lower().endswith(".tar.gz"):
        return "tar"
    if suffix in PARQUET_SUFFIXES:
        return "parquet"
    if is_uri(path):
        return "video" if suffix in VIDEO_SUFFIXES else "image"
    return "video" if is_video(Path(path)) else "image"


def digest(shards: Iterable[Shard]) -> str:
    """Return a SHA-256 over what the shards contain and how their results are called."""
    total = hashlib.sha256()
    for shard in shards:
        for path, name in zip(shard.paths, shard.names, strict=True):
            line = [shard.number, shard.kind, plain(path), name, shard.first_row, shard.rows]
            total.update(("\t".join(map(str, line)) + "\n").encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _find_files(
    inputs: Sequence[str | os.PathLike[str]], progress: Progress
) -> Iterator[tuple[str, str]]:
    """Yield each file once with the unique name of its result."""
    seen: set[str] = set()
    names = UniqueNames()
    for given in map(absolute, inputs):
        for path, relative in _expand(given, progress):
            if path not in seen:
                seen.add(path)
                yield path, names.add(str(PurePosixPath(relative).with_suffix("")))


def _expand(given: str, progress: Progress) -> Iterator[tuple[str, str]]:
    """Yield the files of one input, with their paths below its folder."""
    storage = storage_of(given)
    shown = plain(given)
    kind = storage.kind(given)
    if kind == "file":
        yield given, _last(given)
        return
    if kind == "folder":
        found, start = storage.files(given), split_query(given)[0]
    elif has_pattern(given):
        found, start = storage.glob(given), pattern_start(split_query(given)[0])
    else:
        raise InputError(
            f"no such input: {shown}; expected images, videos, tars, Parquet files, a folder or a "
            "pattern"
        )
    visible = [path for path in found if not _last(path).startswith(".")]
    usable = [path for path in visible if _suffix(path) in SUFFIXES]
    if not usable:
        raise InputError(
            f"{shown} contains no image, video, tar or Parquet file ({len(visible)} other files)"
        )
    if len(usable) < len(visible):
        left_out = len(visible) - len(usable)
        progress(f"{shown}: {left_out} files left out, no image, video, tar or Parquet by name")
    for path in usable:
        yield path, split_query(path)[0][len(start) :].lstrip("/")


def _row_groups(path: str) -> list[int]:
    """Return the number of rows of each row group. Raises UnreadableInputError."""
    pyarrow: Any = require("pyarrow", extra="batch")
    parquet: Any = require("pyarrow.parquet", extra="batch")
    with storage_of(path).open_random(path) as stream:
        try:
            metadata = parquet.ParquetFile(stream).metadata
        except (pyarrow.ArrowException, OSError) as error:
            raise UnreadableInputError(f"{plain(path)} is no Parquet file: {error}") from error
        return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


def _suffix(path: str) -> str:
    return PurePosixPath(split_query(path)[0]).suffix.lower()


def _last(path: str) -> str:
    return split_query(path)[0].rpartition("/")[2]
