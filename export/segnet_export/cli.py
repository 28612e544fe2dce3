"""`segnet-export`: a checkpoint, a module or an ONNX file -> a gated ONNX file."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli.command import run
from segnet_deploy.errors import InputError, UsageError
from segnet_deploy.types import DEFAULT_SIZE
from segnet_export.cli_options import build_parser, check_options

if TYPE_CHECKING:
    from torch import nn

NEEDS_CHECKPOINT = (
    *("io", "dynamic", "imgsz", "batch", "opset", "num_classes", "image", "arch", "geometry"),
    *("bn_order", "module", "module_args"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def command(arguments: argparse.Namespace) -> int:
    """Export, gate and report."""
    check_options(arguments)
    source = Path(arguments.model) if arguments.model else None
    target = Path(arguments.output or _default_output(arguments, source))
    if not target.parent.is_dir():
        raise InputError(f"-o {target}: no such folder: {target.parent}")
    _check_names(source, target, arguments.engine)
    if arguments.precision == "int8":
        _quantise(arguments, source, target)
    elif source is not None and source.suffix == ".onnx":
        _convert(arguments, source, target)
    else:
        _export(arguments, source, target)
    if arguments.engine:
        _engine(arguments, target)
    return 0


def _engine(arguments: argparse.Namespace, source: Path) -> None:
    from segnet_deploy.cli.build import parse_targets
    from segnet_deploy.tensorrt_build.builder import build

    targets = parse_targets(arguments.target)
    built = build(source, Path(arguments.engine), targets=targets)  # in the file's own precision
    print(f"{built.path}: {built.kind} {built.answer.version}, {built.form} form")


def _quantise(arguments: argparse.Namespace, source: Path | None, target: Path) -> None:
    from segnet_export.int8 import quantise

    if source is not None and source.suffix == ".onnx":
        _check_conversion(arguments)
        if _given_normalisation(arguments) or arguments.classes:
            raise UsageError(
                "--mean, --std, --bgr, --rgb and --classes: write them into the fp32 file first "
                f"(segnet-export {source} -o named.onnx ...), then quantise that"
            )
        quantise(arguments, source, target)
        return
    with tempfile.TemporaryDirectory() as name:
        fp32 = Path(name) / "fp32.onnx"
        plain = {"form": "standard", "precision": "fp32", "min_agreement": None}
        _export(argparse.Namespace(**vars(arguments) | plain), source, fp32)
        quantise(arguments, fp32, target)


def _export(arguments: argparse.Namespace, source: Path | None, target: Path) -> None:
    import torch

    from segnet_deploy.files import sha256
    from segnet_deploy.frames import find_inputs, read_image
    from segnet_export.exporter import export

    module, channels, multiple = _module(arguments, source)
    normalisation = _normalisation(arguments)
    height, width = _size(arguments) or _default_size(multiple)
    if height % multiple or width % multiple:
        raise InputError(
            f"--imgsz {height} {width}: this net unpools without output_size and needs "
            f"multiples of {multiple}, such as {_default_size(multiple)}"
        )
    result = export(
        module,
        torch.zeros(arguments.batch, channels, height, width),
        target,
        images=[read_image(path) for path in find_inputs(arguments.image)],
        **_agreement(arguments),
        progress=_say,
        form=arguments.form,
        precision=arguments.precision,
        io=arguments.io,
        dynamic=arguments.dynamic,
        classes=arguments.classes,
        opset=arguments.opset,
        multiple=multiple,
        network=arguments.arch or "",
        source_sha256="" if source is None else sha256(source),
        **normalisation,
    )
    print(result.gate)
    print(
        f"{target}: {arguments.form} form, {arguments.io} io, {result.pairs} pool/unpool pairs, "
        f"{target.stat().st_size / 1e6:.1f} MB, gate passed"
    )


def _convert(arguments: argparse.Namespace, source: Path, target: Path) -> None:
    from segnet_export.convert import convert

    _check_conversion(arguments)
    result = convert(
        source,
        target,
        arguments.form,
        arguments.precision,
        for_tensorrt=arguments.target_runtime == "tensorrt",
        min_agreement=arguments.min_agreement,
        classes=arguments.classes,
        normalisation=_given_normalisation(arguments),
    )
    print(
        f"{target}: {arguments.form} form, {result.precision}, {result.changed} pool/unpool pairs "
        f"rewritten, labels agree on {result.agreement:.4%}, max|d| {result.delta:.1e} "
        f"({', '.join(result.runtimes)})"
    )


def _check_names(source: Path | None, target: Path, engine: str | None) -> None:
    """Refuse to write one file over another."""
    named = {"model": source, "-o": target, "--engine": engine}
    seen: dict[Path, str] = {}
    for name, path in named.items():
        if path is None:
            continue
        place = Path(path).resolve()
        if place in seen:
            raise UsageError(f"{seen[place]} and {name} are one file, {path}; give another name")
        seen[place] = name


def _check_conversion(arguments: argparse.Namespace) -> None:
    """Refuse what takes the checkpoint."""
    default = build_parser().parse_args([arguments.model])
    for name in NEEDS_CHECKPOINT:
        if getattr(arguments, name) != getattr(default, name):
            raise UsageError(
                f"--{name.replace('_', '-')} needs the checkpoint; an .onnx file can be given "
                "another --form or --precision, --classes, --mean, --std and --bgr or --rgb"
            )


def _given_normalisation(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {
        "mean": arguments.mean and tuple(arguments.mean),
        "std": arguments.std and tuple(arguments.std),
        "channel_order": arguments.order,
    }
    return {name: value for name, value in given.items() if value}


def _module(arguments: argparse.Namespace, source: Path | None) -> tuple[nn.Module, int, int]:
    """Return the network, its input channels and what sizes must be multiples of."""
    if arguments.arch:
        from segnet_export.networks import load_named

        size = _size(arguments)
        named = load_named(
            arguments.arch, arguments.num_classes, size, source, arguments.unsafe_load
        )
        if source is None:
            _say(f"{arguments.arch}: weights drawn from seed 0, good for measuring only")
        return named, 3, 1
    assert source is not None
    if arguments.module:
        from segnet_export.user_module import load_own_module

        module = load_own_module(
            arguments.module, arguments.module_args, source, arguments.unsafe_load
        )
        first = next((p for p in module.parameters() if p.dim() == 4), None)
        return module, 3 if first is None else int(first.shape[1]), 1
    from segnet_export.checkpoints import load_checkpoint

    order = {"bn-relu": False, "relu-bn": True}.get(arguments.bn_order)
    loaded = load_checkpoint(
        source,
        num_classes=arguments.num_classes,
        geometry=arguments.geometry,
        relu_before_bn=order,
        unsafe=arguments.unsafe_load,
    )
    _say(str(loaded))
    for note in loaded.notes:
        _say(f"note: {note}")
    return loaded.model, loaded.in_channels, loaded.multiple


def _normalisation(arguments: argparse.Namespace) -> dict[str, Any]:
    missing = [
        name
        for name, value in (
            ("--mean/--std", arguments.mean or arguments.std),
            ("--bgr or --rgb", arguments.order),
        )
        if not value
    ]
    if missing:
        _say(
            f"warning: {' and '.join(missing)} not given: the file says raw 0-255 values in "
            "BGR order where nothing else was said; give what the model was trained on"
        )
    unsaid = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "channel_order": "bgr"}
    return unsaid | _given_normalisation(arguments)


def _agreement(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.min_agreement is None:
        return {}
    name = "min_agreement" if arguments.precision == "fp32" else "min_reduced"
    return {name: arguments.min_agreement}


def _default_size(multiple: int) -> tuple[int, int]:
    height, width = DEFAULT_SIZE
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def _size(arguments: argparse.Namespace) -> tuple[int, int] | None:
    """Return --imgsz, or the size that the paper times --arch at, or None."""
    if arguments.imgsz:
        return arguments.imgsz[0], arguments.imgsz[1]
    if not arguments.arch:
        return None
    from segnet_export.networks import size_of

    return size_of(arguments.arch)


def _default_output(arguments: argparse.Namespace, source: Path | None) -> str:
    if source is None:
        return f"{arguments.arch}.onnx"
    if source.suffix == ".onnx":
        kind = arguments.form if arguments.precision == "fp32" else arguments.precision
        return f"{source.stem}_{kind}.onnx"
    return f"{source.stem}.onnx"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
