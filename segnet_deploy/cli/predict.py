"""`segnet-predict`: overlays and label PNGs of images, folders and videos."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli.command import run
from segnet_deploy.errors import InputError, UsageError
from segnet_deploy.runtimes.names import CHOICES

if TYPE_CHECKING:
    from segnet_deploy.segmenter import Segmenter
    from segnet_deploy.types import Frame


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), predict, argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-predict`."""
    parser = argparse.ArgumentParser(
        prog="segnet-predict",
        description="Segment images, folders of images and videos with an exported file.",
        epilog="exit status: 0 all done, 1 an input or the engine failed, 2 wrong usage",
    )
    parser.add_argument("inputs", nargs="+", metavar="IMAGES|DIR|VIDEO")
    parser.add_argument(
        "--engine",
        required=True,
        metavar="M.onnx|M.trt",
        help="file of segnet-export or segnet-build",
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="build a TensorRT engine again if it is stale"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder for results")
    parser.add_argument("--runtime", choices=CHOICES, default="auto")
    parser.add_argument(
        "--fit",
        choices=("stretch", "letterbox"),
        default="stretch",
        help="how a frame meets the model's size (default: stretch)",
    )
    parser.add_argument(
        "--alpha", type=float, default=0.5, help="weight of the colours, 0-1 (default: 0.5)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: the runtime's choice)")
    parser.add_argument("--no-legend", action="store_true", help="leave the legend out")
    return parser


def predict(arguments: argparse.Namespace) -> int:
    """Segment every input; return 1 where one could not be read."""
    from segnet_deploy.frames import find_inputs, is_video
    from segnet_deploy.segmenter import load

    _check(arguments)
    paths = find_inputs(arguments.inputs)
    folder = Path(arguments.output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"-o {folder} is a file; expected a folder")
    names = _names(paths)
    with load(
        arguments.engine, arguments.runtime, arguments.fit, arguments.threads, arguments.rebuild
    ) as segmenter:
        print(f"{arguments.engine}: {segmenter.engine.name}", file=sys.stderr)
        painter = _Painter(segmenter, arguments.alpha, not arguments.no_legend)
        frames = failed = 0
        with _output_folder(folder), _progress(len(paths), "input") as bar:
            for path, name in zip(paths, names, strict=True):
                try:
                    step = _video if is_video(path) else _image
                    frames += step(path, folder, name, painter)
                except _UnreadableInput as error:
                    failed += 1
                    bar.write(f"error: {error}", file=sys.stderr)
                bar.update()
    print(f"{frames} frames segmented into {folder}")
    if failed:
        print(f"error: {failed} of {len(paths)} inputs could not be read", file=sys.stderr)
    return 1 if failed else 0


class _UnreadableInput(InputError):
    """One input of several is corrupt: reported, and the rest goes on."""


class _Painter:
    def __init__(self, segmenter: Segmenter, alpha: float, legend: bool):
        self.segmenter = segmenter
        self._alpha = alpha
        self._legend = legend

    def paint(self, frame: Frame, labels: Frame) -> Frame:
        from segnet_deploy.overlay import overlay, with_legend

        metadata = self.segmenter.metadata
        picture = overlay(frame, labels, metadata.palette, self._alpha)
        if not self._legend:
            return picture
        return with_legend(picture, metadata.classes, metadata.palette)


def _image(path: Path, folder: Path, name: str, painter: _Painter) -> int:
    from segnet_deploy.frames import read_image, write_png

    try:
        frame = read_image(path)
    except InputError as error:
        raise _UnreadableInput(str(error)) from error
    labels = painter.segmenter.segment(frame)
    write_png(folder / f"{name}_labels.png", labels)
    write_png(folder / f"{name}_overlay.png", painter.paint(frame, labels))
    return 1


def _video(path: Path, folder: Path, name: str, painter: _Painter) -> int:
    """Write `<name>_overlay.mp4` and `<name>_labels/000000.png`, ...; return the frame count."""
    from segnet_deploy.files import atomic_path
    from segnet_deploy.frames import open_video, write_png

    try:
        video = open_video(path)
    except InputError as error:
        raise _UnreadableInput(str(error)) from error
    labels_folder = folder / f"{name}_labels"
    writer: Any = None
    count = 0
    with (
        atomic_path(folder / f"{name}_overlay.mp4") as temporary,
        _output_folder(labels_folder),
        _progress(video.count, "frame") as bar,
    ):
        try:
            for count, frame in enumerate(video.frames(), start=1):
                labels = painter.segmenter.segment(frame)
                write_png(labels_folder / f"{count - 1:06d}.png", labels)
                picture = painter.paint(frame, labels)
                writer = writer or _open_writer(temporary, video.fps, picture)
                writer.write(picture)
                bar.update()
        finally:
            if writer is not None:
                writer.release()
        if not count:
            raise _UnreadableInput(f"video {path} has no frame that can be decoded")
        if not temporary.stat().st_size:
            raise InputError(f"cannot write {name}_overlay.mp4: nothing arrived; is the disk full?")
    return count


def _open_writer(path: Path, fps: float, picture: Frame) -> Any:
    from segnet_deploy.optional import require

    cv2: Any = require("cv2", extra="camera")
    size = (picture.shape[1], picture.shape[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        raise InputError(f"cannot write a video of {size[0]}x{size[1]}; OpenCV lacks an encoder")
    return writer


@contextlib.contextmanager
def _output_folder(folder: Path) -> Any:
    """Make `folder`; where nothing came to lie in it, remove it again."""
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


def _progress(total: int, unit: str) -> Any:
    from segnet_deploy.optional import require

    tqdm = require("tqdm").tqdm
    return tqdm(total=total or None, unit=unit, file=sys.stderr, leave=False)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return one output name per input: the stem, with a number where that is taken."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name, number = path.stem, 2
        while name in taken:
            name, number = f"{path.stem}-{number}", number + 1
        taken.add(name)
        names.append(name)
    return names


def _check(arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.alpha <= 1:
        raise UsageError(f"--alpha {arguments.alpha}; expected 0 to 1")
    if arguments.threads is not None and arguments.threads < 1:
        raise UsageError(f"--threads {arguments.threads}; expected 1 or more")


if __name__ == "__main__":
    sys.exit(main())
