"""Options that several commands share, and the reading of their values."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.accuracy import LAYOUTS
from segnet_deploy.errors import UsageError
from segnet_deploy.runtimes.base import CHOICES
from segnet_deploy.types import DEFAULT_SIZE, FITS, Size

if TYPE_CHECKING:
    from segnet_deploy.runtimes.loader import Rebuild


def add_engine(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add --engine, the model to run, and --server, a model on a server, in its place."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument(
        "--engine",
        metavar="M.onnx|M.trt",
        help="file of segnet-export or segnet-build",
    )
    group.add_argument(
        "--server",
        dest="engine",
        metavar="grpc://HOST:PORT/MODEL",
        help="a model on a Triton server (see segnet-triton), in place of --engine",
    )


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add --runtime, --threads and --rebuild: how the model is run."""
    parser.add_argument("--runtime", choices=CHOICES, default="auto", help="for ONNX files")
    parser.add_argument("--threads", type=int, help="CPU threads (default: the runtime's choice)")
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="build a TensorRT engine again if it is for another version or GPU",
    )


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Add --fit: how a frame is fitted to the model's size."""
    parser.add_argument(
        "--fit",
        choices=FITS,
        default="stretch",
        help="how a frame is fitted to the model's size (default: stretch)",
    )


def add_alpha(parser: argparse.ArgumentParser) -> None:
    """Add --alpha: how strong the overlay's colours are."""
    parser.add_argument(
        "--alpha", type=float, default=0.5, help="weight of the colours, 0-1 (default: 0.5)"
    )


def add_imgsz(parser: Any, default: Size | None = None) -> None:
    """Add --imgsz H W; None is the default size, so that a command sees whether it was given."""
    size = "{} {}".format(*(default or DEFAULT_SIZE))
    parser.add_argument("--imgsz", nargs=2, type=int, metavar=("H", "W"), help=f"default: {size}")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json: write the result for machines."""
    parser.add_argument("--json", metavar="FILE|-", help="write JSON; - for stdout, no table")


def add_labelled_data(parser: argparse.ArgumentParser) -> None:
    """Add --data, --layout, --split and --every: frames with ground truth."""
    parser.add_argument("--data", required=True, metavar="DIR", help="frames and labels")
    add_layout(parser)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="use each Nth frame")


def add_layout(parser: Any) -> None:
    """Add --layout and --split: how a folder of labelled frames is laid out."""
    parser.add_argument("--layout", choices=LAYOUTS, default="folders")
    parser.add_argument("--split", help="CamVid: train, val or test (default: the first found)")


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


def parse_size(text: str, option: str = "--size") -> Size:
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
