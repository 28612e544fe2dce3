"""The inputs of a shard, one after another: frames, or why they cannot be read."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from segnet_deploy.batch.archive import Shard, UniqueNames
from segnet_deploy.batch.storage import plain, storage_of
from segnet_deploy.errors import InputError, UnreadableInputError
from segnet_deploy.frames import IMAGE_SUFFIXES, decode_image, open_video
from segnet_deploy.optional import require
from segnet_deploy.types import Frame

_ROWS = 16  # of a Parquet file in memory
# What a damaged tar raises, also when it is compressed.
TAR_ERRORS = (tarfile.TarError, OSError, EOFError, ValueError, zlib.error)


@dataclass(frozen=True)
class Item:
    """One input: a frame, (H, W, 3) uint8 BGR, or None and an `error`.

    `path` is its file, and `part` where it is in that file: the member of a tar, the number of a
    row or of a video's frame; '' for an image. `name` is that of its label PNG, without suffix,
    `key` its key in a WebDataset; `seconds` is the time in a video.
    """

    path: str
    part: str
    name: str
    key: str
    frame: Frame | None
    error: str = ""
    seconds: float | None = None


def read_items(shard: Shard, image_column: str = "image") -> Iterator[Item]:
    """Yield the inputs of a shard in order. Raises InputError for a missing column."""
    if shard.kind == "image":
        return _images(shard)
    if shard.kind == "video":
        return _video(shard)
    return _tar(shard) if shard.kind == "tar" else _parquet(shard, image_column)


def _images(shard: Shard) -> Iterator[Item]:
    for path, name in zip(shard.paths, shard.names, strict=True):
        shown = plain(path)
        try:
            frame = decode_image(storage_of(path).read_bytes(path), shown)
        except UnreadableInputError as error:
            yield _failed(shown, str(error))
        else:
            yield Item(shown, "", f"{name}_labels", _key(name), frame)


def _video(shard: Shard) -> Iterator[Item]:
    (path,), (name,) = shard.paths, shard.names
    shown, count = plain(path), 0
    try:
        with storage_of(path).local(path) as local:
            video = open_video(local, shown)
            try:
                while (frames := video.decode()) is not None:
                    for frame in frames:
                        part, seconds = f"{count:06d}", video.seconds(frame)
                        key = f"{_key(name)}/{part}"
                        picture = video.to_bgr(frame)
                        count += 1
                        yield Item(
                            shown, part, f"{name}_labels/{part}", key, picture, seconds=seconds
                        )
            finally:
                video.close()
            video.check_complete(count)
    except UnreadableInputError as error:
        yield _failed(shown, str(error))


def _tar(shard: Shard) -> Iterator[Item]:
    (path,), (name,) = shard.paths, shard.names
    shown, names, count = plain(path), UniqueNames(), 0
    try:
        with storage_of(path).open(path) as stream:
            for member, data in image_members(stream):
                count += 1
                inside = PurePosixPath(*(p for p in PurePosixPath(member).parts if p not in "/.."))
                stem = names.add(str(inside.with_suffix("")))
                try:
                    frame = decode_image(data, f"{shown}:{member}")
                except UnreadableInputError as error:
                    yield _failed(shown, str(error), member)
                else:
                    yield Item(shown, member, f"{name}_labels/{stem}", stem, frame)
        if not count:
            raise UnreadableInputError(f"{shown} contains no image")
    except TAR_ERRORS as error:
        yield _failed(shown, f"{shown} is damaged after {count} images: {error}")
    except UnreadableInputError as error:
        yield _failed(shown, str(error))


def image_members(stream: Any) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of the images in a tar that is read once from start to end."""
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if not member.isfile() or name.name.startswith("."):
                continue
            if name.suffix.lower() in IMAGE_SUFFIXES:
                content = tar.extractfile(member)
                assert content is not None
                yield member.name, content.read()


def _parquet(shard: Shard, column: str) -> Iterator[Item]:
    (path,), (name,) = shard.paths, shard.names
    shown = plain(path)
    row = shard.first_row
    try:
        for value in _column(path, shard.row_group, column):
            part, row = f"{row:06d}", row + 1
            data = value.get("bytes") if isinstance(value, dict) else value
            try:
                if not isinstance(data, bytes):
                    raise UnreadableInputError(f"row {part} of {shown} has no image bytes")
                frame = decode_image(data, f"{shown}:{part}")
            except UnreadableInputError as error:
                yield _failed(shown, str(error), part)
            else:
                yield Item(shown, part, f"{name}_labels/{part}", f"{_key(name)}/{part}", frame)
    except UnreadableInputError as error:
        yield _failed(shown, str(error))


def _column(path: str, row_group: int, column: str) -> Iterator[Any]:
    """Yield the values of a column: bytes, or structures with `bytes` as of Hugging Face."""
    pyarrow: Any = require("pyarrow", extra="batch")
    parquet: Any = require("pyarrow.parquet", extra="batch")
    shown = plain(path)
    with storage_of(path).open_random(path) as stream:
        try:
            file = parquet.ParquetFile(stream)
            names = file.schema_arrow.names
            if column not in names:
                raise InputError(
                    f"{shown} has no column {column!r}, only {', '.join(names)}; choose one with "
                    "--image-column"
                )
            for batch in file.iter_batches(_ROWS, row_groups=[row_group], columns=[column]):
                yield from batch.column(0).to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise UnreadableInputError(
                f"{shown} is damaged in row group {row_group}: {error}"
            ) from error


def _failed(path: str, error: str, part: str = "") -> Item:
    return Item(path, part, "", "", None, error)


def _key(name: str) -> str:
    """Return a name without dots: in a WebDataset a key ends at the first."""
    return name.replace(".", "_")
