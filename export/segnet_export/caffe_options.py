"""The options of `segnet-export` for Caffe models, and the export of one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError

SUFFIX = ".caffemodel"
_NO_USE = (
    *("dynamic", "opset", "num_classes", "arch", "geometry", "bn_order", "module", "module_args"),
    *("key", "unsafe_load", "dropout"),
)


def add_caffe_options(parser: Parser) -> None:
    """Add the group of options that only Caffe models have."""
    add = group(parser, "Caffe models").add_argument
    add("--prototxt", metavar="FILE", help="the net of model.caffemodel")
    add(
        "--bn-statistics",
        metavar="DIR",
        help="training images: compute the statistics of the BN layers of a training snapshot",
    )


def is_caffe(arguments: argparse.Namespace) -> bool:
    """Return whether the model is a caffemodel."""
    return bool(arguments.prototxt) or (arguments.model or "").endswith(SUFFIX)


def check_caffe_options(arguments: argparse.Namespace, defaults: argparse.Namespace) -> None:
    """Raise UsageError if options of Caffe models are missing, or do not apply."""
    model = arguments.model or ""
    if model.endswith(".prototxt"):
        raise UsageError(f"{model} is the net: give the {SUFFIX} as the model, and this --prototxt")
    if not is_caffe(arguments):
        if arguments.bn_statistics:
            raise UsageError(f"--bn-statistics requires a {SUFFIX} and --prototxt")
        return
    if not arguments.prototxt:
        raise UsageError(f"{model} requires --prototxt F, the text of its net")
    if not model or model.endswith(".onnx"):
        raise UsageError(f"--prototxt requires a {SUFFIX} as the model")
    for name in _NO_USE:
        if getattr(arguments, name) != getattr(defaults, name):
            option = name.replace("_", "-")
            raise UsageError(f"--{option} does not apply to a Caffe model; omit it")


def export_caffe(
    arguments: argparse.Namespace, source: Path, target: Path, normalisation: dict[str, Any]
) -> None:
    """Write the ONNX file of a Caffe model, and print what was found out about it."""
    from segnet_deploy.caffe.convert_caffe import convert_caffe
    from segnet_deploy.frames import find_inputs, read_image

    result = convert_caffe(
        source,
        arguments.prototxt,
        target,
        arguments.form,
        arguments.precision,
        size=tuple(arguments.imgsz) if arguments.imgsz else None,
        batch=arguments.batch,
        io=arguments.io,
        classes=arguments.classes,
        normalisation=normalisation,
        bn_statistics=arguments.bn_statistics,
        mc_dropout=arguments.mc_dropout or 0,
        images=[read_image(path) for path in find_inputs(arguments.image)],
        min_agreement=arguments.min_agreement,
        progress=arguments.progress,
    )
    for note in result.model.notes:
        arguments.progress(f"note: {note}")
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    use = f"in {arguments.mc_dropout} samples" if arguments.mc_dropout else "left out"
    (height, width), dropouts = result.size, result.model.dropouts
    print(
        f"{arguments.prototxt}: {result.classes} classes, {height}x{width}, "
        f"{result.model.parameters:,} parameters"
        + (f", {len(dropouts)} Dropout layers {use}" if dropouts else "")
    )
    conversion = result.conversion
    print(
        f"{target}: {arguments.form} form, {conversion.precision}, {arguments.io} io, "
        f"{target.stat().st_size / 1e6:.1f} MB, labels agree with the net on "
        f"{conversion.agreement:.4%} ({', '.join(conversion.runtimes)})"
    )
