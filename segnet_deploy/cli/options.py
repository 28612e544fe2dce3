"""The options that several commands share: one name, default, text and place for each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from segnet_deploy.accuracy import LAYOUTS
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError
from segnet_deploy.pretrained import find_file, pretrained_names
from segnet_deploy.quant import DEFAULT_FRAMES
from segnet_deploy.runtimes.base import CHOICES
from segnet_deploy.types import DEFAULT_SIZE, FITS, Size

if TYPE_CHECKING:
    from segnet_deploy.runtimes.loader import Rebuild

ENGINE = "M.onnx|M.trt|NAME"
ENGINE_HELP = "file of segnet-export or segnet-build, or a pretrained network: demo, street"


def model_file(text: str) -> str:
    """Return the path of a pretrained network for its name, and every other text as it is."""
    return str(find_file(text)) if text in pretrained_names() else text


def add_engine(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add --engine, the model to run, and --server, a model on a server, in its place."""
    either = group(parser, "model").add_mutually_exclusive_group(required=required)
    either.add_argument("--engine", type=model_file, metavar=ENGINE, help=ENGINE_HELP)
    either.add_argument(
        "--server",
        dest="engine",
        metavar="grpc://HOST:PORT/MODEL",
        help="a model on a Triton server (see segnet-triton), in place of --engine",
    )


def add_runtime(parser: argparse.ArgumentParser, threads: str = "the runtime's choice") -> None:
    """Add --runtime and --threads, whose default is described by `threads`."""
    model = group(parser, "model")
    model.add_argument(
        "--runtime",
        choices=CHOICES,
        default="auto",
        help="what runs an ONNX file (default: auto, the fastest here)",
    )
    add_threads(parser, threads)


def add_threads(parser: argparse.ArgumentParser, default: str = "the runtime's choice") -> None:
    """Add --threads; `default` describes what None is."""
    group(parser, "model").add_argument(
        "--threads", type=int, metavar="N", help=f"CPU threads (default: {default})"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device and --rebuild: where the model is run, in this process."""
    model = group(parser, "model")
    model.add_argument(
        "--device",
        metavar="cpu|cuda:N",
        help="the CPU, or which GPU (default: what the file and its runtime need)",
    )
    model.add_argument(
        "--rebuild",
        action="store_true",
        help="build a TensorRT engine again if it is for another version or GPU",
    )


def add_batch(parser: argparse.ArgumentParser) -> None:
    """Add --batch: frames per call."""
    group(parser, "model").add_argument(
        "--batch", type=int, default=1, metavar="N", help="frames per call (default: 1)"
    )


def add_source(parser: argparse.ArgumentParser, what: str, several: bool = False) -> None:
    """Add --source, what is segmented, also without the option's name; `what` lists the kinds."""
    parser.add_argument("inputs", nargs="*", metavar="URI", help="what to segment, as --source")
    group(parser, "input").add_argument(
        "--source", nargs="+" if several else 1, default=[], metavar="URI", help=what
    )


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Add --fit: how a frame is fitted to the model's size."""
    group(parser, "input").add_argument(
        "--fit",
        choices=FITS,
        default="stretch",
        help="how a frame is fitted to the model's size (default: stretch)",
    )


def add_alpha(parser: argparse.ArgumentParser) -> None:
    """Add --alpha: how strong the overlay's colours are."""
    group(parser, "output").add_argument(
        "--alpha",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="weight of the colours, 0 to 1 (default: 0.5)",
    )


def add_imgsz(parser: argparse.ArgumentParser) -> None:
    """Add --imgsz H W, which is None if it is not given."""
    size = "{} {}".format(*DEFAULT_SIZE)
    group(parser, "input").add_argument(
        "--imgsz", nargs=2, type=int, metavar=("H", "W"), help=f"in px (default: {size})"
    )
    if isinstance(parser, Parser):
        parser.read_as_size("--imgsz")


def add_output_folder(parser: argparse.ArgumentParser, what: str, required: bool = True) -> None:
    """Add -o DIR; `what` says what is written there."""
    group(parser, "output").add_argument(
        "-o", "--output", required=required, metavar="DIR", help=what
    )


def add_json(parser: argparse.ArgumentParser, *others: str) -> None:
    """Add --json: write the result for machines; `others` are more names of it."""
    group(parser, "output").add_argument(
        *("--json", *others),
        metavar="FILE|-",
        help="write the result as JSON; - for stdout, no table",
    )


def add_show(parser: argparse.ArgumentParser) -> None:
    """Add --show: a window."""
    group(parser, "output").add_argument(
        "--show", action="store_true", help="show the overlay in a window; q or Esc ends it"
    )


def add_fresh(parser: argparse.ArgumentParser) -> None:
    """Add --fresh: do not continue an earlier call."""
    group(parser, "measurement").add_argument(
        "--fresh", action="store_true", help="discard what an earlier call left in -o"
    )


def add_labelled_data(parser: argparse.ArgumentParser) -> None:
    """Add --data, --layout, --split and --every: frames with ground truth."""
    add_data(parser, required=True)
    group(parser, "labelled frames").add_argument(
        "--every", type=int, default=1, metavar="N", help="use each Nth frame (default: 1)"
    )


def add_data(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add --data, --layout and --split: a folder of labelled frames."""
    labelled = group(parser, "labelled frames")
    labelled.add_argument("--data", required=required, metavar="DIR", help="frames and labels")
    labelled.add_argument(
        "--layout", choices=LAYOUTS, default="folders", help="of --data (default: folders)"
    )
    labelled.add_argument(
        "--split",
        metavar="NAME",
        help="CamVid: train, val or test (default: the first found)",
    )


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """Add --calib and --calib-frames: images for INT8."""
    int8 = group(parser, "INT8")
    int8.add_argument(
        "--calib", metavar="DIR", help="images like those of the training, not those of --data"
    )
    int8.add_argument(
        "--calib-frames",
        type=int,
        default=DEFAULT_FRAMES,
        metavar="N",
        help="evenly spread over --calib (default: %(default)s)",
    )


def add_max_drop(parser: argparse.ArgumentParser, default: float | None = None) -> None:
    """Add --max-drop: how much accuracy a faster file may lose."""
    text = "largest loss of mIoU on --data, in points"
    group(parser, "limits").add_argument(
        "--max-drop",
        type=float,
        default=default,
        metavar="POINTS",
        help=text if default is None else f"{text} (default: %(default)s)",
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add --target: the GPUs that an engine is for."""
    group(parser, "TensorRT").add_argument(
        "--target",
        metavar="smXX[,smYY]",
        help="GPUs to build for (TensorRT-RTX; default: all from sm80 on)",
    )


def read_sources(arguments: argparse.Namespace, example: str) -> list[str]:
    """Return what to segment. Raises UsageError, with an `example`, if nothing is given."""
    sources: list[str] = [*arguments.inputs, *arguments.source]
    if not sources:
        raise UsageError(f"nothing to segment; give it without an option, or --source {example}")
    return sources


def add_version_compatible(parser: argparse.ArgumentParser) -> None:
    """Add --version-compatible: an engine that newer versions of TensorRT run too."""
    group(parser, "TensorRT").add_argument(
        "--version-compatible",
        action="store_true",
        help="an engine that newer versions of TensorRT run too: it contains TensorRT's lean "
        "runtime, is larger and may be slower (not TensorRT-RTX)",
    )


def check_positive(arguments: argparse.Namespace, *names: str) -> None:
    """Raise UsageError for an option whose value is not above 0."""
    for name in names:
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise UsageError(f"--{name.replace('_', '-')} {value}; expected more than 0")


def check_alpha(arguments: argparse.Namespace) -> None:
    """Raise UsageError for an --alpha outside 0 to 1."""
    if not 0 <= arguments.alpha <= 1:
        raise UsageError(f"--alpha {arguments.alpha}; expected 0 to 1")


def check_size(arguments: argparse.Namespace, name: str) -> None:
    """Raise UsageError for a size that is not above 0."""
    size = getattr(arguments, name)
    if size and min(size) < 1:
        raise UsageError(f"--{name} {size[0]} {size[1]}; expected two numbers above 0: 360 480")


def parse_size(text: str, option: str) -> Size:
    """Return (height, width) of `360x480`. Raises UsageError."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise UsageError(f"{option} {text}; expected HEIGHTxWIDTH, like 360x480")
    return int(height), int(width)


def rebuild_callback(arguments: argparse.Namespace) -> Rebuild | None:
    """Return what rebuilds a stale engine, if --rebuild was given."""
    if not arguments.rebuild:
        return None

    def rebuild(path: Path) -> None:
        from segnet_deploy import tensorrt_build

        tensorrt_build.rebuild(path, arguments.progress)

    return rebuild
