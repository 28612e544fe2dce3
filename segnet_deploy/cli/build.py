"""`segnet-build`: an exported ONNX file -> a TensorRT or TensorRT-RTX engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from segnet_deploy.cli.command import run
from segnet_deploy.errors import UsageError
from segnet_deploy.passes import PRECISIONS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-build`."""
    parser = argparse.ArgumentParser(
        prog="segnet-build",
        description="Build a TensorRT or TensorRT-RTX engine from an exported ONNX file.",
        epilog="exit status: 0 built, 1 failed (no file), 2 wrong usage",
    )
    parser.add_argument("onnx", metavar="segnet.onnx", help="file of segnet-export")
    parser.add_argument("-o", "--output", metavar="F", help="default: the file's name + .trt")
    parser.add_argument("--builder", choices=("auto", "tensorrt", "tensorrt-rtx"), default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: the file's own")
    parser.add_argument(
        "--form",
        choices=("auto", "plugin", "lowered"),
        default="auto",
        help="auto: plugin where its library is here",
    )
    parser.add_argument("--plugin", metavar="F", help="the plugin library (default: the installed)")
    parser.add_argument(
        "--target", metavar="smXX[,smYY]", help="GPUs to build for without one (TensorRT-RTX)"
    )
    parser.add_argument(
        "--batch", nargs=3, type=int, metavar=("MIN", "OPT", "MAX"), help="for a dynamic batch"
    )
    parser.add_argument(
        "--size", nargs=3, metavar=("MIN", "OPT", "MAX"), help="for dynamic sizes, each as HxW"
    )
    parser.add_argument(
        "--embed-plugin", action="store_true", help="put the plugin library into the engine"
    )
    parser.add_argument(
        "--timing-cache", metavar="DIR", help="keep what the builder timed, by version and device"
    )
    parser.add_argument("--workspace", type=int, metavar="MB", help="scratch memory limit")
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Build, write plan and sidecar, and report."""
    from segnet_deploy.tensorrt_build.builder import build

    source = Path(arguments.onnx)
    target = Path(arguments.output or source.with_suffix(".trt").name)
    targets = parse_targets(arguments.target)
    if arguments.workspace is not None and arguments.workspace < 1:
        raise UsageError(f"--workspace {arguments.workspace}; expected MB above 0")
    built = build(
        source,
        target,
        builder=arguments.builder,
        precision=arguments.precision,
        targets=targets,
        batch=tuple(arguments.batch) if arguments.batch else None,
        sizes=tuple(map(parse_size, arguments.size)) if arguments.size else None,
        workspace_bytes=None if arguments.workspace is None else arguments.workspace * 1_000_000,
        form=arguments.form,
        plugin=Path(arguments.plugin) if arguments.plugin else None,
        embed_plugin=arguments.embed_plugin,
        timing_cache=Path(arguments.timing_cache) if arguments.timing_cache else None,
    )
    answer = built.answer
    print(
        f"{target}: {built.kind} {answer.version}, {', '.join(targets) or 'this GPU'}, "
        f"{built.form} form, "
        f"{built.precision}, {len(answer.layers)} layers, {_mb(target.stat().st_size)}, "
        f"activations {_mb(answer.activation_bytes)}, built in {answer.seconds:.1f} s"
    )
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of `360x480`. Raises UsageError."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise UsageError(f"--size {text}; expected HEIGHTxWIDTH, like 360x480")
    return int(height), int(width)


def parse_targets(text: str | None) -> tuple[str, ...]:
    """Return the names in `sm86,SM89`, in small letters."""
    return tuple(name.strip().lower() for name in (text or "").split(",") if name.strip())


def _mb(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
