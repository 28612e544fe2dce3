"""`segnet-build`: an exported ONNX file -> a TensorRT or TensorRT-RTX engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli.command import run
from segnet_deploy.cli.options import check_positive, parse_size
from segnet_deploy.passes import PRECISIONS

if TYPE_CHECKING:
    from segnet_deploy.tensorrt_build import BuildOptions, Built


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
    add = parser.add_argument
    add("onnx", metavar="segnet.onnx", help="file of segnet-export")
    add("-o", "--output", metavar="F", help="default: the file's name + .trt")
    add("--builder", choices=("auto", "tensorrt", "tensorrt-rtx"), default="auto")
    add("--precision", choices=PRECISIONS, help="default: the file's own")
    add(
        "--form",
        choices=("auto", "plugin", "lowered"),
        default="auto",
        help="auto: plugin if its library is installed",
    )
    add("--plugin", metavar="F", help="the plugin library (default: the installed one)")
    add(
        "--target",
        metavar="smXX[,smYY]",
        help="GPUs to build for (TensorRT-RTX; default: all from sm80 on)",
    )
    add("--batch", nargs=3, type=int, metavar=("MIN", "OPT", "MAX"), help="for a dynamic batch")
    add("--size", nargs=3, metavar=("MIN", "OPT", "MAX"), help="for dynamic sizes, each as HxW")
    add("--embed-plugin", action="store_true", help="store the plugin library in the engine")
    add_version_compatible(parser)
    add("--timing-cache", metavar="DIR", help="keep the builder's timings, by version and device")
    add("--workspace", type=int, metavar="MB", help="scratch memory limit")
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Build the engine with its sidecar, and report."""
    from segnet_deploy.tensorrt_build import build

    check_positive(arguments, "workspace")
    source = Path(arguments.onnx)
    target = Path(arguments.output or source.with_suffix(".trt").name)
    built = build(source, target, read_options(arguments), arguments.progress)
    print(describe(built))
    return 0


def read_options(arguments: argparse.Namespace) -> BuildOptions:
    """Return the build options that the arguments give. Raises UsageError."""
    from segnet_deploy.tensorrt_build import BuildOptions

    return BuildOptions(
        builder=arguments.builder,
        precision=arguments.precision,
        targets=parse_targets(arguments.target),
        batch=tuple(arguments.batch) if arguments.batch else None,
        sizes=tuple(map(parse_size, arguments.size)) if arguments.size else None,
        workspace_bytes=None if arguments.workspace is None else arguments.workspace * 1_000_000,
        form=arguments.form,
        plugin=Path(arguments.plugin) if arguments.plugin else None,
        embed_plugin=arguments.embed_plugin,
        timing_cache=Path(arguments.timing_cache) if arguments.timing_cache else None,
        version_compatible=arguments.version_compatible,
    )


def add_version_compatible(parser: Any) -> None:
    """Add --version-compatible: an engine that newer versions of TensorRT run too."""
    parser.add_argument(
        "--version-compatible",
        action="store_true",
        help="an engine that newer versions of TensorRT run too: it contains TensorRT's lean "
        "runtime, is larger and may be slower (not TensorRT-RTX)",
    )


def parse_targets(text: str | None) -> tuple[str, ...]:
    """Return the names in `sm86,SM89`, in lower case."""
    return tuple(name.strip().lower() for name in (text or "").split(",") if name.strip())


def describe(built: Built) -> str:
    """Return the line that reports an engine."""
    from segnet_deploy.runtimes.tensorrt.plan import describe_targets

    answer = built.answer
    largest = ["x".join(map(str, shapes[-1])) for shapes in built.profiles.values()]
    return (
        f"{built.path}: {built.kind} {answer.version}, "
        f"{describe_targets(built.kind, built.targets)}, "
        f"{built.form} form, {built.precision}, {len(answer.layers)} layers, "
        f"{_mb(built.path.stat().st_size)}, activations {_mb(answer.activation_bytes)}"
        f"{''.join(f' at its largest input {shape}' for shape in largest)}, "
        f"built in {answer.seconds:.1f} s"
    )


def _mb(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
