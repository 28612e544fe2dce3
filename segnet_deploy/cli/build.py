"""`segnet-build`: an exported ONNX file -> a TensorRT or TensorRT-RTX engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.passes import PRECISIONS
from segnet_deploy.types import Size

if TYPE_CHECKING:
    from segnet_deploy.tensorrt_build import BuildOptions, Built

RANGE = ("MIN", "OPT", "MAX")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> Parser:
    """Return the parser of `segnet-build`."""
    parser = Parser(
        "segnet-build",
        "Build a TensorRT or TensorRT-RTX engine from an exported ONNX file.",
        exits="0 built, 1 failed (no file)",
    )
    parser.add_argument(
        "onnx",
        type=options.model_file,
        metavar="M.onnx|NAME",
        help="file of segnet-export, or a pretrained network: demo, street",
    )
    add = group(parser, "output").add_argument
    add("-o", "--output", metavar="FILE", help="default: the file's name + .trt")
    add("--precision", choices=PRECISIONS, help="default: the file's own")
    add(
        "--form",
        choices=("auto", "plugin", "lowered"),
        default="auto",
        help="plugin needs its library (default: auto, plugin if it is installed)",
    )
    add = group(parser, "TensorRT").add_argument
    add(
        "--builder",
        choices=("auto", "tensorrt", "tensorrt-rtx"),
        default="auto",
        help="default: auto, the installed one",
    )
    options.add_target(parser)
    options.add_version_compatible(parser)
    add("--batch-range", nargs=3, type=int, metavar=RANGE, help="for a dynamic batch")
    add("--size-range", nargs=3, metavar=RANGE, help="for dynamic sizes, each as HxW")
    add("--plugin", metavar="FILE", help="the plugin library (default: the installed one)")
    add("--embed-plugin", action="store_true", help="store the plugin library in the engine")
    add("--timing-cache", metavar="DIR", help="keep the builder's timings, by version and device")
    add("--workspace", type=int, metavar="MB", help="scratch memory limit")
    parser.rename("--batch", "--batch-range")
    parser.rename("--size", "--size-range")
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Build the engine with its sidecar, and report."""
    from segnet_deploy.tensorrt_build import build

    options.check_positive(arguments, "workspace")
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
        batch=tuple(arguments.batch_range) if arguments.batch_range else None,
        sizes=_sizes(arguments.size_range),
        workspace_bytes=None if arguments.workspace is None else arguments.workspace * 1_000_000,
        form=arguments.form,
        plugin=Path(arguments.plugin) if arguments.plugin else None,
        embed_plugin=arguments.embed_plugin,
        timing_cache=Path(arguments.timing_cache) if arguments.timing_cache else None,
        version_compatible=arguments.version_compatible,
    )


def _sizes(texts: Sequence[str] | None) -> tuple[Size, ...] | None:
    return tuple(options.parse_size(text, "--size-range") for text in texts) if texts else None


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
