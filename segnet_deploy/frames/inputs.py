"""Find images and videos: in folders by suffix, else also by content."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from segnet_deploy.errors import InputError
from segnet_deploy.optional import require
from segnet_deploy.progress import Progress, silent

T = TypeVar("T")

# What OpenCV and FFmpeg usually decode. A file that is named itself may have any suffix.
_IMAGES = ".avif .bmp .dib .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp"
_VIDEOS = (
    ".264 .265 .3g2 .3gp .asf .avi .divx .f4v .flv .gif .h264 .h265 .hevc .m2ts .m2v .m4v .mjpeg "
    ".mjpg .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf .ogv .qt .ts .vob .webm .wmv .y4m"
)
IMAGE_SUFFIXES = frozenset(_IMAGES.split())
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())


def find_inputs(paths: Sequence[str | os.PathLike[str]], progress: Progress = silent) -> list[Path]:
    """Return the files of `paths`, with folders (sorted, not recursive) expanded.

    Of a folder, only images and videos are returned; `progress` is told what is left out. Raises
    InputError for a path that does not exist, or for a folder without images and videos.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += scan_folder(path, IMAGE_SUFFIXES | VIDEO_SUFFIXES, "image or video", progress)
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"no such image, folder or video: {path}{_advice(str(path))}")
    return found


def _advice(path: str) -> str:
    """Return the next command for a camera or an address, which are no files."""
    if path.isdigit() or path.startswith(("/dev/video", "rtsp:", "csi:", "v4l2:")):
        return f"; a camera or stream: segnet-camera --source {_address(path)}"
    if path.startswith(("http:", "https:")):
        url = _address(path)
        return f"; download it first, or for a stream: segnet-camera --source {url}"
    return ""


def _address(path: str) -> str:
    """Return an address whose slashes Path has joined."""
    scheme, colon, rest = path.partition(":/")
    return f"{scheme}://{rest.lstrip('/')}" if colon else path


def scan_folder(
    folder: Path, suffixes: frozenset[str], kind: str = "image", progress: Progress = silent
) -> list[Path]:
    """Return the files of a folder with one of `suffixes`, sorted by name.

    `progress` is told how many others are left out, by suffix; hidden files are not counted.
    Raises InputError if there is no such file; `kind` says what was expected.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot read folder {folder}: {error.strerror or error}") from error
    found = [path for path in entries if path.suffix.lower() in suffixes and path.is_file()]
    left_out = _left_out([path for path in entries if path not in set(found)])
    if not found:
        raise InputError(
            f"{folder} contains no {kind}{left_out and f', only {left_out}'}; expected "
            + ", ".join(sorted(suffixes))
        )
    if left_out:
        progress(f"{folder}: {left_out} left out, no {kind} by name")
    return found


def is_video(path: Path) -> bool:
    """Return whether `path` is a video: by its suffix, else because it is not a known image."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    return not require("cv2", extra="camera").haveImageReader(str(path))


def _left_out(paths: Sequence[Path]) -> str:
    """Describe paths, such as '3 files (2 .txt, 1 .json) and 1 folder'; '' if there are none."""
    folders = sum(path.is_dir() for path in paths)
    suffixes = Counter(p.suffix.lower() or "without suffix" for p in paths if not p.is_dir())
    files = sum(suffixes.values())
    parts = []
    if files:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common())
        parts.append(f"{files} file{'s' * (files > 1)} ({kinds})")
    if folders:
        parts.append(f"{folders} folder{'s' * (folders > 1)}")
    return " and ".join(parts)


def group_alike(items: Iterable[T], size: int, key: Callable[[T], object]) -> Iterator[list[T]]:
    """Yield lists of up to `size` consecutive items whose keys are equal; `key` is asked once."""
    group: list[T] = []
    shared: object = None
    for item in items:
        own = key(item)
        if group and own != shared:
            yield group
            group = []
        shared = own
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` items at even distances, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, count).round()]
