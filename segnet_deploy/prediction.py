"""Segment images, folders and videos into overlays and label PNGs."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.errors import InputError, UnreadableInputError
from segnet_deploy.files import atomic_path, atomic_write
from segnet_deploy.frames import find_inputs, is_video, open_video, read_image, write_png
from segnet_deploy.optional import require
from segnet_deploy.overlay import heat_map, overlay, with_legend
from segnet_deploy.progress import Progress, silent
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Frame


@dataclass(frozen=True)
class Predictions:
    """How many frames were segmented, and the inputs that could not be read (whole), and why."""

    inputs: int
    frames: int
    failed: tuple[str, ...] = ()


def predict_files(
    segmenter: Segmenter,
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    alpha: float = 0.5,
    legend: bool = True,
    uncertainty: bool = False,
    progress: Progress = silent,
) -> Predictions:
    """Segment images, folders of images and videos; write the results into a folder.

    An image becomes `<name>_labels.png`, (H, W) uint8 label ids, and `<name>_overlay.png`; a
    video becomes `<name>_labels/000000.png`, ... and `<name>_overlay.mp4`. `alpha`, 0 to 1, is
    the weight of the colours in the overlay. `uncertainty` adds `<name>_uncertainty.png`, a heat
    map, and `<name>_uncertainty.npy`, (H, W) float32, of a file that samples its dropout; for a
    video `<name>_uncertainty/000000.png` and so on. An input that cannot be read, or only in
    part, is reported in the result, and the others are still segmented.

    Raises InputError (no such input, an output folder that cannot be made), EngineError, or
    UnsupportedModelError (no uncertainty in the file).

    >>> with load("segnet.onnx") as segmenter:
    ...     predict_files(segmenter, ["data/images"], "out")
    Predictions(inputs=3, frames=3, failed=())
    """
    paths, folder = find_inputs(inputs, progress), Path(output)
    check_folder(folder, inputs)
    if uncertainty:
        segmenter.check_uncertainty()
    writer = _Writer(segmenter, folder, alpha, legend, uncertainty, progress)
    frames, failed = 0, []
    with _output_folder(folder):
        progress("segmenting", 0, len(paths))
        for done, (path, name) in enumerate(zip(paths, _names(paths), strict=True), start=1):
            try:
                count, lost = (writer.video if is_video(path) else writer.image)(path, name)
                frames += count
                if lost:
                    raise UnreadableInputError(
                        f"{path} is damaged: {count} of {count + lost} frames were segmented"
                    )
            except UnreadableInputError as error:
                failed.append(str(error))
                progress(f"error: {error}")
            progress("segmenting", done, len(paths))
    return Predictions(len(paths), frames, tuple(failed))


def check_folder(folder: Path, inputs: Sequence[str | os.PathLike[str]] = ()) -> None:
    """Raise InputError if an output folder is a file, or one of the folders of inputs."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"-o {folder} is a file; expected a folder")
    if any(Path(given).is_dir() and Path(given).resolve() == folder.resolve() for given in inputs):
        raise InputError(
            f"-o {folder} is also a folder of inputs, so the next run would segment its own "
            "results; choose another folder"
        )


class _Writer:
    """Segments one input at a time and writes its files."""

    def __init__(
        self,
        segmenter: Segmenter,
        folder: Path,
        alpha: float,
        legend: bool,
        uncertainty: bool,
        progress: Progress,
    ):
        self._segmenter, self._folder, self._progress = segmenter, folder, progress
        self._alpha, self._legend, self._uncertainty = alpha, legend, uncertainty

    def image(self, path: Path, name: str) -> tuple[int, int]:
        """Write the files of an image; return the numbers of frames written and lost, (1, 0)."""
        frame = read_image(path)
        labels = self._segment(frame, self._folder / f"{name}_uncertainty")
        write_png(self._folder / f"{name}_labels.png", labels)
        write_png(self._folder / f"{name}_overlay.png", self._draw(frame, labels))
        return 1, 0

    def video(self, path: Path, name: str) -> tuple[int, int]:
        """Write the files of a video; return the numbers of frames written and lost."""
        video = open_video(path)
        target = self._folder / f"{name}_overlay.mp4"
        labels_folder = self._folder / f"{name}_labels"
        maps_folder = self._folder / f"{name}_uncertainty"
        count = 0
        with (
            atomic_path(target) as temporary,
            _output_folder(labels_folder),
            _output_folder(maps_folder),
            _VideoFile(temporary, video.fps) as file,
        ):
            for count, frame in enumerate(video.frames(), start=1):
                labels = self._segment(frame, maps_folder / f"{count - 1:06d}")
                write_png(labels_folder / f"{count - 1:06d}.png", labels)
                file.write(self._draw(frame, labels))
                if video.count:
                    self._progress(path.name, min(count, video.count), video.count)
            if not count:
                raise UnreadableInputError(f"video {path} has no frame that can be decoded")
            file.close()
            if not temporary.stat().st_size:
                raise InputError(f"cannot write {target.name}: it is empty; is the disk full?")
        return count, video.lost

    def _segment(self, frame: Frame, stem: Path) -> Frame:
        """Return the labels; write the files of their uncertainty, named after `stem`, if asked."""
        if not self._uncertainty:
            return self._segmenter.segment(frame)
        labels, uncertainty = self._segmenter.segment_with_uncertainty(frame)
        data = io.BytesIO()
        np.save(data, uncertainty)
        atomic_write(stem.with_name(f"{stem.name}.npy"), data.getvalue())
        classes = len(self._segmenter.metadata.classes)
        write_png(stem.with_name(f"{stem.name}.png"), heat_map(uncertainty, classes))
        return labels

    def _draw(self, frame: Frame, labels: Frame) -> Frame:
        metadata = self._segmenter.metadata
        picture = overlay(frame, labels, metadata.palette, self._alpha)
        if not self._legend:
            return picture
        return with_legend(picture, metadata.classes, metadata.palette)


class _VideoFile:
    """An MP4 file, opened at its first picture."""

    def __init__(self, path: Path, fps: float):
        self._path, self._fps = path, fps
        self._writer: Any = None

    def write(self, picture: Frame) -> None:
        """Append a picture, (H, W, 3) uint8 BGR. Raises InputError."""
        if self._writer is None:
            self._writer = self._open(picture)
        self._writer.write(picture)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def __enter__(self) -> _VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, picture: Frame) -> Any:
        cv2: Any = require("cv2", extra="camera")
        size = (picture.shape[1], picture.shape[0])
        codec = cv2.VideoWriter_fourcc(*"mp4v")
        # With its folder, since a name such as 12:30.mp4 would be taken for a protocol.
        writer = cv2.VideoWriter(str(self._path.absolute()), codec, self._fps, size)
        if not writer.isOpened():
            raise InputError(
                f"cannot write a video of {size[0]}x{size[1]}; OpenCV has no encoder for it"
            )
        return writer


@contextlib.contextmanager
def _output_folder(folder: Path) -> Iterator[None]:
    """Make `folder`; remove it again if it stays empty."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _names(paths: Sequence[Path]) -> list[str]:
    """Return one output name per input: its stem, numbered if that is already used."""
    names: list[str] = []
    used: set[str] = set()
    for path in paths:
        name, number = path.stem, 2
        while name in used:
            name, number = f"{path.stem}-{number}", number + 1
        used.add(name)
        names.append(name)
    return names
