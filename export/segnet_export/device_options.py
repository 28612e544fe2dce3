"""`segnet-export --for DEVICE`: files of other devices' tools, and the check of their options."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError, renamed

if TYPE_CHECKING:
    from segnet_deploy.metadata import Metadata

SUFFIXES = {
    "litert": ".tflite",
    "rknn": "_rknn.onnx",
    "coreml": ".mlpackage",
    "deepstream": "_deepstream.onnx",
}
DEVICES = tuple(SUFFIXES)
_NO_USE = {
    "precision": "the file is fp32; the device's tool quantises it",
    "io": "the file reads a float tensor",
    "dynamic": "the device needs one size",
    "mc_dropout": "nothing fills its masks on the device",
    "build_engine": "it is for TensorRT",
}

ExportAny = Callable[[argparse.Namespace, Path | None, Path], None]


def add_device_options(parser: Parser) -> None:
    """Add --for and what belongs to it."""
    add = group(parser, "other devices").add_argument
    add(
        "--for",
        dest="target_runtime",
        choices=("any", "tensorrt", *DEVICES),
        default="any",
        help="which tool reads the file (default: any); tensorrt: an int8 file that TensorRT "
        "parses (segnet-build derives it by itself); litert: a checked .tflite file; rknn: the "
        "ONNX file that RKNN-Toolkit2 reads; deepstream: the ONNX file and the configuration for "
        "nvinfer; coreml: not supported yet, prints why",
    )
    add(
        "--litert-python",
        metavar="FILE",
        help="with --for litert: a Python 3.12 that has onnx2tf (default: this one)",
    )


def check_device_options(arguments: argparse.Namespace, defaults: argparse.Namespace) -> None:
    """Raise UsageError if an option does not apply to the device's file."""
    device = arguments.target_runtime
    if arguments.litert_python and device != "litert":
        raise UsageError("--litert-python requires --for litert")
    if device not in DEVICES:
        return
    if device == "coreml":
        raise UsageError(
            "--for coreml: coremltools reads torch, not ONNX, and has no unpooling; follow the "
            "recipe in docs/how-to/devices.md, or choose --for litert"
        )
    for name, reason in _NO_USE.items():
        if name == "dynamic" and device == "deepstream" and arguments.dynamic == "batch":
            continue
        if getattr(arguments, name) != getattr(defaults, name):
            raise UsageError(
                f"--{name.replace('_', '-')} does not apply with --for {device}: {reason}; omit it"
            )
    if arguments.form == "plugin":
        raise UsageError(f"--form plugin: --for {device} writes the lowered form; omit --form")


def default_device_output(arguments: argparse.Namespace, source: Path | None) -> str:
    """Return the name of the file where -o is not given."""
    stem = arguments.arch if source is None else source.stem
    return f"{stem}{SUFFIXES[arguments.target_runtime]}"


def export_for_device(
    arguments: argparse.Namespace,
    source: Path | None,
    target: Path,
    normalisation: dict[str, Any],
    export_any: ExportAny,
) -> None:
    """Write the device's file; a checkpoint becomes a temporary ONNX file with `export_any`."""
    from segnet_deploy.frames import find_inputs, read_image
    from segnet_deploy.progress import naming

    options: dict[str, Any] = {
        "images": [read_image(path) for path in find_inputs(arguments.image)],
        "min_agreement": arguments.min_agreement,
        "progress": arguments.progress,
    }
    if source is not None and source.suffix == ".onnx":
        options |= {"classes": arguments.classes, "normalisation": normalisation}
        _write(arguments, source, target, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / f"{target.stem}.onnx"
        changes = {"form": "standard", "min_agreement": None}
        export_any(argparse.Namespace(**vars(arguments) | changes), source, exported)
        shown = source or arguments.arch
        options["progress"] = naming(arguments.progress, exported, shown)
        with renamed(exported, shown):
            _write(arguments, exported, target, options)


def _write(
    arguments: argparse.Namespace, source: Path, target: Path, options: dict[str, Any]
) -> None:
    if arguments.target_runtime == "litert":
        _write_litert(source, target, arguments.litert_python, options)
    elif arguments.target_runtime == "deepstream":
        _write_deepstream(source, target, options)
    else:
        _write_rknn(source, target, options)


def _write_litert(source: Path, target: Path, python: str | None, options: dict[str, Any]) -> None:
    from segnet_deploy.conversion.to_litert import to_litert

    result = to_litert(source, target, python=python, **options)
    print(
        f"{target}: LiteRT float32, {target.stat().st_size / 1e6:.1f} MB, labels agree on "
        f"{result.agreement:.4%} of {result.inputs} inputs, max|d| {result.delta:.1e} "
        f"(ai-edge-litert {result.versions['ai-edge-litert']})"
    )
    shape = "x".join(map(str, result.shape))
    print(f"its input: {shape} float32, {_normalisation(result.metadata)}")


def _write_rknn(source: Path, target: Path, options: dict[str, Any]) -> None:
    from segnet_deploy.conversion.to_rknn import NEWEST_OPSET, to_rknn
    from segnet_deploy.metadata import Metadata
    from segnet_deploy.runtimes.model_file import load_model

    result = to_rknn(source, target, **options)
    metadata = Metadata.from_props(dict(load_model(target).metadata_props))
    print(
        f"{target}: lowered form, opset {NEWEST_OPSET}, {result.changed} pool/unpool pairs "
        f"rewritten, labels agree on {result.agreement:.4%} (onnxruntime: fp32)"
    )
    print(
        f"next, with rknn-toolkit2: rknn.config(mean_values=[{list(metadata.mean)}], std_values="
        f"[{list(metadata.std)}], target_platform='rk3588'); rknn.load_onnx('{target}'); see "
        f"docs/how-to/devices.md. Its input is {_normalisation(metadata)}"
    )


def _write_deepstream(source: Path, target: Path, options: dict[str, Any]) -> None:
    from segnet_deploy.conversion.to_deepstream import to_deepstream

    result = to_deepstream(source, target, **options)
    print(
        f"{target}: lowered form, pixels in, softmax out, labels agree on {result.agreement:.4%} "
        f"of {result.inputs} inputs, max|d| {result.delta:.1e} (onnxruntime: fp32)"
    )
    beside = "" if result.labels is None else f", class names in {result.labels}"
    print(f"{result.config}: nvinfer config-file-path={result.config}{beside}")


def _normalisation(metadata: Metadata) -> str:
    """Return what the values of the input are."""
    mean, std = list(metadata.mean), list(metadata.std)
    return f"{metadata.channel_order.upper()} order, (value 0-255 - {mean}) / {std}"
