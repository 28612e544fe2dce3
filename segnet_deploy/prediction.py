"""Segment images, folders and videos into overlays and label PNGs."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segnet_deploy.errors import InputError, UnreadableInputError
from segnet_deploy.files import atomic_path, atomic_write
from segnet_deploy.frames import Video, find_inputs, is_video, open_video, read_image, write_png
from segnet_deploy.overlay import heat_map
from segnet_deploy.progress import Progress, silent
from segnet_deploy.results.result import Result, Times, describe
from segnet_deploy.results.video_file import VideoFile
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Size


@dataclass(frozen=True)
class Predictions:
    """How many frames were segmented, and the inputs that could not be read (whole), and why."""

    inputs: int
    frames: int
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputReport:
    """What was found in input `number` of `total`, from 1 on; in a video, the mean of its frames.

    `size` is (height, width) in px, of a video's last frame; `shares` has the largest class first.
    """

    path: Path
    number: int
    total: int
    is_video: bool
    frames: int
    size: Size
    shares: dict[str, float]
    time_ms: Times

    def describe(self) -> str:
        """Return a line, such as: image 1/12 a.png 360x480: Road 41 %, Sky 20 %, 7.9 ms."""
        found = describe(self.size, self.shares, self.time_ms.total)
        name = f"{self.number}/{self.total} {self.path.name}"
        if self.is_video:
            return f"video {name} {self.frames} frames {found} a frame"
        return f"image {name} {found}"


def predict_files(
    segmenter: Segmenter,
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    alpha: float = 0.5,
    legend: bool = True,
    uncertainty: bool = False,
    on_input: Callable[[InputReport], None] | None = None,
    on_result: Callable[[Result], bool] | None = None,
    progress: Progress = silent,
) -> Predictions:
    """Segment images, folders of images and videos; write the results into a folder.

    An image becomes `<name>_labels.png`, (H, W) uint8 label ids, and `<name>_overlay.png`; a
    video becomes `<name>_labels/000000.png`, ... and `<name>_overlay.mp4`; `output` None writes
    none of these. `alpha`, 0 to 1, is the weight of the colours. `uncertainty` adds
    `<name>_uncertainty.png`, a heat map, and `<name>_uncertainty.npy`, (H, W) float32, of a file
    that samples its dropout. `on_input` is called after each input, `on_result` after each frame;
    it returns whether to go on. An input that cannot be read, or only in part, is reported in the
    result, and the others are still segmented.

    Raises InputError (no such input, a place that cannot be written), EngineError, or
    UnsupportedModelError (no uncertainty in the file).

    >>> with load("segnet.onnx") as segmenter:
    ...     predict_files(segmenter, ["data/images"], "out")
    Predictions(inputs=3, frames=3, failed=())
    """
    paths = find_inputs(inputs, progress)
    folder = None if output is None else Path(output)
    if folder is not None:
        check_folder(folder, inputs)
    if uncertainty:
        segmenter.check_uncertainty()
    writer = _Writer(segmenter, folder, alpha, legend, uncertainty, progress)
    run = _Run(writer, on_input, on_result, progress)
    with contextlib.nullcontext() if folder is None else _output_folder(folder):
        return run.predict(paths)


def check_folder(folder: Path, inputs: Sequence[str | os.PathLike[str]] = ()) -> None:
    """Raise InputError if an output folder is a file, or one of the folders of inputs."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"-o {folder} is a file; expected a folder")
    if any(Path(given).is_dir() and Path(given).resolve() == folder.resolve() for given in inputs):
        raise InputError(
            f"-o {folder} is also a folder of inputs, so the next run would segment its own "
            "results; choose another folder"
        )


class _Run:
    """Segments one input after the other, and passes on what it finds."""

    def __init__(
        self,
        writer: _Writer,
        on_input: Callable[[InputReport], None] | None,
        on_result: Callable[[Result], bool] | None,
        progress: Progress,
    ):
        self._writer, self._progress = writer, progress
        self._on_input, self._on_result = on_input, on_result
        self._goes_on = True

    def predict(self, paths: Sequence[Path]) -> Predictions:
        """Segment `paths`, or as many as are wanted."""
        frames, failed, total = 0, [], len(paths)
        self._progress("segmenting", 0, total)
        for number, (path, name) in enumerate(zip(paths, _names(paths), strict=True), start=1):
            sums = _Sums()
            try:
                self._input(path, name, sums)
            except UnreadableInputError as error:
                failed.append(str(error))
                self._progress(f"error: {error}")
            frames += sums.frames
            self._progress("segmenting", number, total)
            if sums.frames and self._on_input is not None:
                self._on_input(sums.report(path, number, total))
            if not self._goes_on:
                break
        return Predictions(total, frames, tuple(failed))

    def _input(self, path: Path, name: str, sums: _Sums) -> None:
        """Segment one input. Raises UnreadableInputError if not all of it could be read."""
        if not is_video(path):
            self._frame(self._writer.image(path, name), sums)
            return
        sums.is_video = True
        video = open_video(path)
        with contextlib.closing(self._writer.video(video, path, name)) as results:
            for result in results:
                self._frame(result, sums)
                if not self._goes_on:
                    return
        video.check_complete(sums.frames)

    def _frame(self, result: Result, sums: _Sums) -> None:
        sums.add(result)
        if self._on_result is not None:
            self._goes_on = self._on_result(result)


class _Sums:
    """Adds up the results of one input."""

    def __init__(self) -> None:
        self.frames, self.is_video = 0, False
        self._shares: Counter[str] = Counter()
        self._time = np.zeros(len(Times._fields))
        self._size = (0, 0)

    def add(self, result: Result) -> None:
        self.frames += 1
        self._shares.update(result.shares)
        self._time += result.time_ms
        self._size = (int(result.labels.shape[0]), int(result.labels.shape[1]))

    def report(self, path: Path, number: int, total: int) -> InputReport:
        shares = {name: share / self.frames for name, share in self._shares.most_common()}
        times = Times(*(self._time / self.frames).tolist())
        kind = (self.is_video, self.frames)
        return InputReport(path, number, total, *kind, self._size, shares, times)


class _Writer:
    """Segments one input at a time and writes its files; without a folder, it only segments."""

    def __init__(
        self,
        segmenter: Segmenter,
        folder: Path | None,
        alpha: float,
        legend: bool,
        uncertainty: bool,
        progress: Progress,
    ):
        self._segmenter, self._folder, self._progress = segmenter, folder, progress
        self._alpha, self._legend, self._uncertainty = alpha, legend, uncertainty

    def image(self, path: Path, name: str) -> Result:
        """Segment an image and write its files."""
        result = replace(self._segmenter(read_image(path)), path=path)
        if self._folder is not None:
            self._write_uncertainty(result, self._folder / f"{name}_uncertainty")
            write_png(self._folder / f"{name}_labels.png", result.labels)
            picture = result.overlay(self._alpha, self._legend)
            write_png(self._folder / f"{name}_overlay.png", picture)
        return result

    def video(self, video: Video, path: Path, name: str) -> Generator[Result, None, None]:
        """Yield the results of a video's frames; its files are complete after the last."""
        results = self._video_results(video, path)
        yield from results if self._folder is None else self._write(results, video, name)

    def _video_results(self, video: Video, path: Path) -> Iterator[Result]:
        count = 0
        for count, frame in enumerate(video.frames(), start=1):
            yield replace(self._segmenter(frame), path=path, index=count - 1)
            if video.count:
                self._progress(path.name, min(count, video.count), video.count)
        if not count:  # before the files of this video are complete
            video.check_complete(count)

    def _write(self, results: Iterator[Result], video: Video, name: str) -> Iterator[Result]:
        """Write the files of each result, then yield it; also complete if no more are asked for."""
        assert self._folder is not None
        target = self._folder / f"{name}_overlay.mp4"
        labels_folder = self._folder / f"{name}_labels"
        maps_folder = self._folder / f"{name}_uncertainty"
        with (
            atomic_path(target) as temporary,
            _output_folder(labels_folder),
            _output_folder(maps_folder),
            VideoFile(temporary, video.fps) as file,
        ):
            with contextlib.suppress(GeneratorExit):
                for result in results:
                    self._write_uncertainty(result, maps_folder / f"{result.index:06d}")
                    write_png(labels_folder / f"{result.index:06d}.png", result.labels)
                    file.write(result.overlay(self._alpha, self._legend))
                    yield result
            file.close()
            if not temporary.stat().st_size:
                raise InputError(f"cannot write {target.name}: it is empty; is the disk full?")

    def _write_uncertainty(self, result: Result, stem: Path) -> None:
        """Write the files of a result's uncertainty, named after `stem`, if asked for."""
        if not self._uncertainty or result.uncertainty is None:
            return
        data = io.BytesIO()
        np.save(data, result.uncertainty)
        atomic_write(stem.with_name(f"{stem.name}.npy"), data.getvalue())
        picture = heat_map(result.uncertainty, len(result.classes))
        write_png(stem.with_name(f"{stem.name}.png"), picture)


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
