"""The frames of what a segmenter is called with: arrays, files, folders, videos, series."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from segnet_deploy.errors import InputError
from segnet_deploy.frames import find_inputs, group_alike, is_video, open_video, read_image
from segnet_deploy.geometry import check_frame
from segnet_deploy.types import Frame

PathText: TypeAlias = "str | os.PathLike[str]"
Source: TypeAlias = "Frame | PathText | Iterable[Frame | PathText]"


@dataclass(frozen=True, eq=False)
class Given:
    """A frame, (H, W, 3) uint8 BGR, its file, and its number in a video or a series."""

    frame: Frame
    path: Path | None = None
    index: int | None = None


def is_single(source: Source) -> bool:
    """Return whether `source` is one frame: an array or the path of an image."""
    if isinstance(source, np.ndarray):
        return True
    return isinstance(source, (str, os.PathLike)) and not (
        Path(source).is_dir() or is_video(_existing(Path(source)))
    )


def read_source(source: Source) -> Iterator[Given]:
    """Return an iterator of the frames of `source`, each read when it is asked for.

    A folder gives the frames of its images and videos, sorted by name; a series those of its
    members. Raises InputError for a path that does not exist or another kind of source, at once,
    and while iterating UnreadableInputError for a file that is damaged, of a video after its last
    frame.
    """
    if isinstance(source, np.ndarray):
        return iter([Given(source)])
    if isinstance(source, (str, os.PathLike)):
        return _read_files(find_inputs([source]))
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        if isinstance(source, (list, tuple)):
            for member in source:
                if isinstance(member, (str, os.PathLike)):
                    _existing(Path(member))
        return _read_series(source)
    raise InputError(
        f"cannot segment {type(source).__name__}; expected a frame, (H, W, 3) uint8 in BGR order, "
        "a path of an image, folder or video, or a series of these"
    )


def in_batches(given: Iterator[Given], size: int, of_one_size: bool) -> Iterator[list[Given]]:
    """Return lists of `size` frames, of fewer at the end and before another size (`of_one_size`).

    Raises InputError for what is not a frame.
    """

    def shape(item: Given) -> tuple[int, ...] | None:
        check_frame(item.frame)
        return item.frame.shape if of_one_size else None

    return group_alike(given, size, shape)


def _read_series(source: Iterable[Frame | PathText]) -> Iterator[Given]:
    for number, member in enumerate(source):
        if isinstance(member, (str, os.PathLike)):
            yield from read_source(member)
        else:
            yield Given(member, index=number)


def _read_files(paths: list[Path]) -> Iterator[Given]:
    for path in paths:
        if is_video(path):
            yield from _read_video(path)
        else:
            yield Given(read_image(path), path)


def _read_video(path: Path) -> Iterator[Given]:
    video, count = open_video(path), 0
    for frame in video.frames():
        yield Given(frame, path, count)
        count += 1
    video.check_complete(count)


def _existing(path: Path) -> Path:
    find_inputs([path])  # its error says what is missing
    return path
