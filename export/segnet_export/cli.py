"""`segnet-export`: a checkpoint, module, Caffe or ONNX file -> a checked ONNX file."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli.command import run
from segnet_deploy.errors import InputError, UsageError
from segnet_deploy.optional import require
from segnet_deploy.passes.sampling_names import SAMPLES
from segnet_deploy.types import DEFAULT_SIZE, Frame, Size
from segnet_export.caffe_options import export_caffe, is_caffe
from segnet_export.cli_options import (
    assumes_segnet,
    build_parser,
    check_conversion_options,
    check_options,
    check_paths,
)
from segnet_export.device_options import DEVICES, default_device_output, export_for_device
from segnet_export.engine_options import build_engine

if TYPE_CHECKING:
    from torch import nn

    from segnet_deploy.quant.sensitivity import AccuracyDrop
    from segnet_export.export_options import GateKeywords
    from segnet_export.exporter import ExportResult

RELU_BEFORE_BN = {None: None, "bn-relu": False, "relu-bn": True}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def command(arguments: argparse.Namespace) -> int:
    """Write the ONNX file, and the engine if one is requested."""
    check_options(arguments)
    source = Path(arguments.model) if arguments.model else None
    target = Path(arguments.output or _default_output(arguments, source))
    check_paths(source, target, arguments.build_engine, arguments.prototxt)
    if source is not None and source.suffix == ".onnx":
        check_conversion_options(arguments)
    if arguments.target_runtime in DEVICES:
        export_for_device(arguments, source, target, _given_normalisation(arguments), _export_any)
    elif arguments.precision == "int8":
        _quantise(arguments, source, target)
    elif source is not None and source.suffix == ".onnx":
        _convert(arguments, source, target)
    else:
        _export_any(arguments, source, target)
    if arguments.build_engine:
        build_engine(arguments, target)
    return 0


def _export_any(arguments: argparse.Namespace, source: Path | None, target: Path) -> None:
    """Export a Caffe model, a checkpoint, or the network of --arch."""
    if source is not None and is_caffe(arguments):
        export_caffe(arguments, source, target, _given_normalisation(arguments))
    else:
        _export(arguments, source, target)


def _export(arguments: argparse.Namespace, source: Path | None, target: Path) -> None:
    """Export a checkpoint, or the network of --arch."""
    torch = require("torch", extra="export")
    from segnet_deploy.files import sha256
    from segnet_export import export, place_dropout

    module, channels, multiple = _load_network(arguments, source)
    if arguments.dropout:
        place_dropout(module, arguments.dropout)
    _warn_of_missing_normalisation(arguments)
    result = export(
        module,
        torch.zeros(arguments.batch, channels, *_image_size(arguments, multiple)),
        target,
        progress=arguments.progress,
        form=arguments.form,
        precision=arguments.precision,
        io=arguments.io,
        dynamic=arguments.dynamic,
        mean=tuple(arguments.mean or (0.0, 0.0, 0.0)),
        std=tuple(arguments.std or (1.0, 1.0, 1.0)),
        channel_order=arguments.order or "bgr",
        classes=arguments.classes,
        opset=arguments.opset,
        outputs=arguments.outputs and arguments.outputs.split(","),
        mc_dropout=arguments.mc_dropout or 0,
        multiple=multiple,
        network=arguments.arch or "",
        source_sha256="" if source is None else sha256(source),
        **_gate_options(arguments),
    )
    print(result.gate)
    print(
        f"{target}: {arguments.form} form, {arguments.io} io, {result.pairs} pool/unpool pairs, "
        f"{_further_outputs(result)}{target.stat().st_size / 1e6:.1f} MB, gate passed"
    )


def _further_outputs(result: ExportResult) -> str:
    """Return the names of the outputs, for the last line, if there are several."""
    metadata = result.metadata
    names = [output.name for output in result.gate.rows[0].outputs if output.name != SAMPLES]
    if not names:
        return ""
    sampled = f"{metadata.samples} samples of {len(metadata.dropout)} dropouts, "
    names_text = f"labels from '{metadata.label_output}', also {', '.join(names)}, "
    return (sampled if metadata.samples else "") + names_text


def _convert(arguments: argparse.Namespace, source: Path, target: Path) -> None:
    """Convert an ONNX file to another form or precision."""
    from segnet_deploy.conversion import convert

    result = convert(
        source,
        target,
        arguments.form,
        arguments.precision,
        for_tensorrt=arguments.target_runtime == "tensorrt",
        min_agreement=arguments.min_agreement,
        classes=arguments.classes,
        normalisation=_given_normalisation(arguments),
        images=_gate_images(arguments),
        progress=arguments.progress,
    )
    checked = [f"{r}: {c}" for r, c in zip(result.runtimes, result.computed, strict=True)]
    print(
        f"{target}: {arguments.form} form, {result.precision}, {result.changed} pool/unpool pairs "
        f"rewritten, labels agree on {result.agreement:.4%}, max|d| {result.delta:.1e} "
        f"({', '.join(checked)})"
    )


def _quantise(arguments: argparse.Namespace, source: Path | None, target: Path) -> None:
    """Quantise an ONNX file; a checkpoint becomes a temporary fp32 file first."""
    if source is not None and source.suffix == ".onnx":
        if _given_normalisation(arguments) or arguments.classes:
            raise UsageError(
                "--mean, --std, --bgr, --rgb and --classes: write them into the fp32 file first "
                f"(segnet-export {source} -o named.onnx ...), then quantise that"
            )
        if arguments.image:
            raise UsageError("--image: an INT8 file is compared on calibration images; omit it")
        _quantise_onnx(arguments, source, target)
        return
    with tempfile.TemporaryDirectory() as folder:
        fp32 = Path(folder) / "fp32.onnx"
        changes = {"form": "standard", "precision": "fp32", "min_agreement": None}
        _export_any(argparse.Namespace(**vars(arguments) | changes), source, fp32)
        _quantise_onnx(arguments, fp32, target)


def _quantise_onnx(arguments: argparse.Namespace, source: Path, target: Path) -> None:
    from segnet_deploy.accuracy.agreement import format_agreement
    from segnet_deploy.quant.quantise import quantise

    for_tensorrt = arguments.target_runtime == "tensorrt"
    result = quantise(
        source,
        target,
        arguments.calib,
        form=arguments.form,
        method=arguments.calib_method,
        frames=arguments.calib_frames,
        full_range=arguments.full_range,
        max_drop=None if arguments.max_drop is None else arguments.max_drop / 100,
        data=arguments.data,
        layout=arguments.layout,
        split=arguments.split,
        for_tensorrt=for_tensorrt,
        min_agreement=arguments.min_agreement,
        progress=arguments.progress,
    )
    print(format_agreement(result.agreement, "int8"))
    for drop in result.drops:
        _print_drop(drop, result.labelled)
    for name in result.kept:
        print(f"kept in fp32: {name}")
    print(
        f"{target}: {arguments.form} form, int8{' for TensorRT' if for_tensorrt else ''}, "
        f"{result.int8} convolutions, {result.frames} calibration frames "
        f"({arguments.calib_method}), {target.stat().st_size / 1e6:.1f} MB, gate passed"
    )


def _print_drop(drop: AccuracyDrop, frames: int) -> None:
    from segnet_deploy.accuracy.evaluate import class_losses

    for loss in class_losses(drop.result):
        print(f"warning: {drop.runtime}: {loss}", file=sys.stderr)
    before, after = drop.result["against"]["mean_iou"], drop.result["mean_iou"]
    print(
        f"{drop.runtime}: mIoU {100 * after:.2f} (fp32 {100 * before:.2f}) on {frames} labelled "
        f"frames, {drop.result['agreement']:.2%} of the labels kept"
    )


def _load_network(arguments: argparse.Namespace, source: Path | None) -> tuple[nn.Module, int, int]:
    """Return the network, its input channels, and the multiple that sizes must be of."""
    assume_segnet = assumes_segnet(arguments)
    if arguments.arch and not assume_segnet:
        return _load_architecture(arguments, source), 3, 1
    assert source is not None
    if arguments.module:
        from segnet_export.trial_run import find_input_channels
        from segnet_export.user_module import load_user_module

        module = load_user_module(
            arguments.module,
            arguments.module_args,
            source,
            unsafe=arguments.unsafe_load,
            key=arguments.key,
            progress=arguments.progress,
        )
        size = _given_size(arguments) or DEFAULT_SIZE
        channels = arguments.input_channels or find_input_channels(module, *size)
        arguments.progress(f"{arguments.module}: {channels} input channels")
        return module, channels, 1
    from segnet_export import load_checkpoint

    loaded = load_checkpoint(
        source,
        num_classes=arguments.num_classes,
        geometry=arguments.geometry,
        relu_before_bn=RELU_BEFORE_BN[arguments.bn_order],
        unsafe=arguments.unsafe_load,
        key=arguments.key,
        assume_segnet=assume_segnet,
    )
    arguments.progress(str(loaded))
    for note in loaded.notes:
        arguments.progress(f"note: {note}")
    return loaded.model, loaded.in_channels, loaded.multiple


def _load_architecture(arguments: argparse.Namespace, source: Path | None) -> nn.Module:
    from segnet_export.networks import load_network

    size = _given_size(arguments)
    module = load_network(
        arguments.arch,
        arguments.num_classes,
        size,
        source,
        unsafe=arguments.unsafe_load,
        key=arguments.key,
        progress=arguments.progress,
    )
    if source is None:
        arguments.progress(f"{arguments.arch}: random weights from seed 0, for measurements only")
    return module


def _given_normalisation(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of normalisation that were given, as keywords of the library."""
    given = {
        "mean": arguments.mean and tuple(arguments.mean),
        "std": arguments.std and tuple(arguments.std),
        "channel_order": arguments.order,
    }
    return {name: value for name, value in given.items() if value}


def _warn_of_missing_normalisation(arguments: argparse.Namespace) -> None:
    given = {
        "--mean/--std": arguments.mean or arguments.std,
        "--bgr or --rgb": arguments.order,
    }
    missing = [name for name, value in given.items() if not value]
    if missing:
        print(
            f"warning: {' and '.join(missing)} not given: the file will record raw 0-255 values "
            "in BGR order for what is missing; give what the model was trained on",
            file=sys.stderr,
        )


def _gate_options(arguments: argparse.Namespace) -> GateKeywords:
    options: GateKeywords = {"images": _gate_images(arguments)}
    if arguments.min_agreement is not None and arguments.precision == "fp32":
        options["min_agreement"] = arguments.min_agreement
    elif arguments.min_agreement is not None:
        options["min_reduced"] = arguments.min_agreement
    return options


def _gate_images(arguments: argparse.Namespace) -> list[Frame]:
    from segnet_deploy.frames import find_inputs, read_image

    return [read_image(path) for path in find_inputs(arguments.image)]


def _image_size(arguments: argparse.Namespace, multiple: int) -> Size:
    """Return the size to export at. Raises InputError if the network does not support it."""
    default = tuple(-(-size // multiple) * multiple for size in DEFAULT_SIZE)
    height, width = _given_size(arguments) or default
    if height % multiple or width % multiple:
        raise InputError(
            f"--imgsz {height} {width}: this network unpools without output_size and needs "
            f"multiples of {multiple}, such as {default}"
        )
    return height, width


def _given_size(arguments: argparse.Namespace) -> Size | None:
    """Return --imgsz, or the size that the paper times --arch at, or None."""
    if arguments.imgsz:
        return arguments.imgsz[0], arguments.imgsz[1]
    if not arguments.arch:
        return None
    from segnet_export.networks import timed_size

    return timed_size(arguments.arch)


def _default_output(arguments: argparse.Namespace, source: Path | None) -> str:
    if arguments.target_runtime in DEVICES:
        return default_device_output(arguments, source)
    if source is None:
        return f"{arguments.arch}.onnx"
    if source.suffix == ".onnx":
        kind = arguments.form if arguments.precision == "fp32" else arguments.precision
        return f"{source.stem}_{kind}.onnx"
    return f"{source.stem}.onnx"


if __name__ == "__main__":
    sys.exit(main())
