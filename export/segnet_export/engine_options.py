"""`segnet-export --engine`: build a TensorRT engine of the written file, as segnet-build does."""

from __future__ import annotations

import argparse
from pathlib import Path

from segnet_deploy.cli.build import add_version_compatible, parse_targets
from segnet_deploy.errors import UsageError


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add --engine and what belongs to it."""
    group = parser.add_argument_group("TensorRT")
    group.add_argument("--engine", metavar="F", help="also build an engine (as segnet-build does)")
    group.add_argument("--target", metavar="smXX[,smYY]", help="with --engine: GPUs to build for")
    add_version_compatible(group)


def check_engine_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError if an option of the engine contradicts another one."""
    if arguments.engine and arguments.precision == "int8" and arguments.form == "lowered":
        raise UsageError("--engine requires the standard form of an INT8 file")
    if arguments.target and not arguments.engine:
        raise UsageError("--target requires --engine F")
    if arguments.version_compatible and not arguments.engine:
        raise UsageError("--version-compatible requires --engine F")
    if arguments.engine and arguments.form == "plugin":
        raise UsageError(
            "--engine requires the standard or lowered form; it rewrites the file itself"
        )


def build_engine(arguments: argparse.Namespace, source: Path) -> None:
    """Build the engine of the written file, in the file's own precision."""
    from segnet_deploy.tensorrt_build import BuildOptions, build

    options = BuildOptions(
        targets=parse_targets(arguments.target), version_compatible=arguments.version_compatible
    )
    built = build(source, Path(arguments.engine), options, arguments.progress)
    print(f"{built.path}: {built.kind} {built.answer.version}, {built.form} form")
