"""`segnet-export --build-engine`: an engine of the written file, as segnet-build builds it."""

from __future__ import annotations

import argparse
from pathlib import Path

from segnet_deploy.cli import options
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError


def add_engine_options(parser: Parser) -> None:
    """Add --build-engine and what belongs to it."""
    group(parser, "TensorRT").add_argument(
        "--build-engine", metavar="FILE", help="also build an engine, as segnet-build does"
    )
    options.add_target(parser)
    options.add_version_compatible(parser)
    parser.rename("--engine", "--build-engine")


def check_engine_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError if an option of the engine contradicts another one."""
    engine = arguments.build_engine
    if engine and arguments.precision == "int8" and arguments.form == "lowered":
        raise UsageError("--build-engine requires the standard form of an INT8 file")
    if engine and arguments.form == "plugin":
        raise UsageError(
            "--build-engine requires the standard or lowered form; it rewrites the file itself"
        )
    given = {"--target": arguments.target, "--version-compatible": arguments.version_compatible}
    for name, value in given.items():
        if value and not engine:
            raise UsageError(f"{name} requires --build-engine FILE")


def build_engine(arguments: argparse.Namespace, source: Path) -> None:
    """Build the engine of the written file, in the file's own precision."""
    from segnet_deploy.cli.build import parse_targets
    from segnet_deploy.tensorrt_build import BuildOptions, build

    build_options = BuildOptions(
        targets=parse_targets(arguments.target), version_compatible=arguments.version_compatible
    )
    built = build(source, Path(arguments.build_engine), build_options, arguments.progress)
    print(f"{built.path}: {built.kind} {built.answer.version}, {built.form} form")
