"""PyTorch module -> ONNX file with its pooling indices intact, gated before it is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from segnet_deploy.classes import load_classes
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.files import atomic_path
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes import FORMS, PRECISIONS
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_frame_io import to_frame_io
from segnet_deploy.passes.to_precision import to_precision
from segnet_deploy.system.machine import versions
from segnet_deploy.types import Frame
from segnet_export.parity.gate import gate, gate_labels
from segnet_export.parity.inputs import InputMaker, Size
from segnet_export.parity.report import GateReport
from segnet_export.torch_graph import (
    DYNAMIC,
    OLDEST_OPSET,
    FirstOutput,
    evaluation_mode,
    to_onnx,
)

_BY_PASS = tuple(name for name in PRECISIONS if name != "int8")  # which needs calibration
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportOptions:
    """How a file is written.

    `form`: standard (MaxPool indices and MaxUnpool), lowered (plain operators), plugin
    (the TensorRT plugin's pair). `precision`: fp32, fp16 or bf16. `io`: tensor (float
    NCHW in, logits out) or frame (uint8 NHWC BGR in, uint8 labels out). `dynamic`: None,
    batch, or size (batch, height and width). `mean` and `std` are on the 0-255 scale in
    the model's `channel_order`.
    `classes`: camvid, sunrgbd, a file, or None. `multiple`: what sizes must be multiples of.
    `network`: its name, for benchmarks.
    """

    form: str = "standard"
    precision: str = "fp32"
    io: str = "tensor"
    dynamic: str | None = None
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channel_order: str = "bgr"
    classes: str | None = None
    opset: int = OLDEST_OPSET
    multiple: int = 1
    network: str = ""
    source_sha256: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("form", self.form, FORMS),
            ("precision", self.precision, _BY_PASS),
            ("io", self.io, ("tensor", "frame")),
            ("dynamic", self.dynamic, (None, *DYNAMIC)),
        ):
            if value not in known:
                raise InputError(f"{name} {value!r}; expected {', '.join(map(str, known))}")
        if self.opset < OLDEST_OPSET:
            raise InputError(f"opset {self.opset}; expected {OLDEST_OPSET} or newer")


@dataclass(frozen=True)
class GateOptions:
    """How a file is checked.

    `images` are (H, W, 3) uint8 BGR frames (default: drawn street scenes). `min_agreement` is the
    share of labels to keep, `min_reduced` that of a reduced precision. `runtimes`: default all that
    are installed. `adversarial` False leaves out made-up ties: for benchmarks of random weights.
    """

    images: Sequence[Frame] = ()
    min_agreement: float = 0.9999
    min_reduced: float = 0.99
    runtimes: Sequence[str] | None = None
    adversarial: bool = True
    progress: Progress = lambda _: None


@dataclass(frozen=True)
class ExportResult:
    """The file that was written, its metadata, how many pairs it has, and the gate."""

    path: Path
    metadata: Metadata
    pairs: int
    gate: GateReport


@dataclass(frozen=True)
class Trace:
    """A module's graph as torch exported it, of which `write` makes any number of files."""

    module: nn.Module
    example: Tensor
    options: ExportOptions
    model: ir.Model
    pairs: int
    classes: int


def export(
    module: nn.Module,
    example: Tensor,
    path: str | os.PathLike[str] = "segnet.onnx",
    **options: Any,
) -> ExportResult:
    """Export any module with max-pool/unpool pairs and gate the file against it.

    `example` is (N, C, H, W) float32; its sizes are the file's, where not dynamic.
    `options` are those of ExportOptions and of GateOptions. A tuple output's first tensor is taken.
    A reduced precision is written after the fp32 graph has passed.

    Raises InputError (unusable options or sizes), UnsupportedModelError (cannot be
    exported exactly) or ParityError (the file disagrees); then no file is left.
    """
    checks, chosen = _split(options)
    checks.progress("exporting")
    return _write(trace(module, example, **chosen), path, checks)


def trace(module: nn.Module, example: Tensor, **options: Any) -> Trace:
    """Export `module` with torch, which takes most of an export's time; arguments as of `export`.

    Raises InputError or UnsupportedModelError.
    """
    chosen = ExportOptions(**options)
    wrapped = FirstOutput(module)
    with evaluation_mode(module):
        classes = _check_module(wrapped, example)
        _describe(chosen, classes)  # what is wrong with the options is said before the long part
        model, pairs = to_onnx(wrapped, example, chosen.opset, chosen.dynamic)
    if chosen.dynamic == "size" and chosen.multiple == 1:
        chosen = replace(chosen, multiple=_multiple(model, pairs))
    return Trace(wrapped, example, chosen, model, pairs, classes)


def write(
    traced: Trace, path: str | os.PathLike[str] = "segnet.onnx", **options: Any
) -> ExportResult:
    """Write and gate one file of `traced`; arguments and errors as of `export`.

    `options` replace those of the trace: form, precision, io, classes, normalisation.
    """
    checks, changes = _split(options)
    if fixed := {"opset", "dynamic"} & set(changes):
        raise InputError(f"{', '.join(sorted(fixed))} cannot change after the trace; trace again")
    return _write(replace(traced, options=replace(traced.options, **changes)), path, checks)


def _split(options: dict[str, Any]) -> tuple[GateOptions, dict[str, Any]]:
    """Return the gate's options, and the file's."""
    names = {item.name for item in fields(GateOptions)}
    checks = {name: value for name, value in options.items() if name in names}
    return GateOptions(**checks), {n: v for n, v in options.items() if n not in names}


def _write(traced: Trace, path: str | os.PathLike[str], checks: GateOptions) -> ExportResult:
    chosen, example, module = traced.options, traced.example, traced.module
    model, runtimes, progress = traced.model.clone(), checks.runtimes, checks.progress
    maker = InputMaker(
        example.shape[1], chosen.mean, chosen.std, chosen.channel_order, chosen.io, checks.images
    )
    with evaluation_mode(module), atomic_path(path) as temporary:
        metadata = finish(model, traced.classes, chosen)
        save(model, temporary)
        inputs = maker.make(gate_sizes(example, chosen, traced.pairs))
        inputs = [item for item in inputs if checks.adversarial or item.ordinary]
        report = gate(
            temporary,
            module,
            inputs,
            runtimes=runtimes,
            min_agreement=checks.min_agreement,
            progress=progress,
        )
        if chosen.precision != "fp32":
            metadata = reduce(model, metadata, chosen.precision, temporary)
            report = report.joined(
                gate_labels(temporary, module, inputs, runtimes, checks.min_reduced, progress)
            )
    return ExportResult(Path(path), metadata, traced.pairs, report)


def finish(model: ir.Model, classes: int, options: ExportOptions) -> Metadata:
    """Bring `model` to its form and io, and write its metadata, in place."""
    metadata = _describe(options, classes)
    if options.io == "frame":
        to_frame_io(model, options.mean, options.std, options.channel_order)
    to_form(model, options.form)
    model.metadata_props.update(metadata.to_props())
    return metadata


def reduce(model: ir.Model, metadata: Metadata, precision: str, path: Path) -> Metadata:
    """Write `model` in `precision`; return its metadata."""
    reduced = replace(metadata, precision=precision)
    model = to_precision(model, precision).model
    model.metadata_props.update(reduced.to_props())
    save(model, path)
    return reduced


def save(model: ir.Model, path: Path) -> None:
    """Write the file; OSError (a full disk) passes through."""
    try:
        ir.save(model, path)
    except OSError:
        raise
    except Exception as error:
        raise InputError(f"cannot write {path}: {error}") from error


def gate_sizes(example: Tensor, options: ExportOptions, pairs: int) -> list[Size]:
    """Return the (batch, height, width) to check: three sizes and two batches if dynamic."""
    batch, _, height, width = example.shape
    if options.dynamic is None:
        return [(batch, height, width)]
    if options.dynamic == "batch":
        return [(batch, height, width), (3, height, width), (1, height, width)]
    step = max(2, options.multiple)
    least: int = 2**pairs

    def near(size: int) -> int:
        return max(least, size // step * step)

    odd = 1 if options.multiple == 1 else 0
    smaller = (near(height // 2) + odd, near(width // 2) + odd)
    larger = (near(height * 5 // 8), near(width * 3 // 4))
    return [(1, height, width), (3, *smaller), (1, *larger)]


def library_versions() -> dict[str, str]:
    """Return the versions that an exported file names."""
    return versions(("segnet-deploy", "torch", "onnx", "onnx_ir"))


def _describe(options: ExportOptions, classes: int) -> Metadata:
    names = load_classes(options.classes, classes)
    return Metadata(
        names.names,
        names.palette,
        options.mean,
        options.std,
        options.channel_order,
        options.io,
        options.form,
        "fp32",
        options.multiple,
        options.network,
        options.source_sha256,
        library_versions(),
    )


def _check_module(module: nn.Module, example: Tensor) -> int:
    """Run the module once; return its number of classes."""
    if example.dim() != 4 or example.dtype != torch.float32 or min(example.shape) < 1:
        raise InputError(
            f"example is {tuple(example.shape)} {example.dtype}; expected (N, C, H, W) float32"
        )
    if min(example.shape[2:]) < 2:
        raise InputError(
            f"size {example.shape[2]}x{example.shape[3]}; a 2x2 pooling window needs 2 px or more"
        )
    broken = [n for n, p in module.state_dict().items() if not torch.isfinite(p.float()).all()]
    if broken:
        raise InputError(
            f"{len(broken)} weights hold NaN or infinity ({broken[0]}); take another checkpoint"
        )
    size = "x".join(map(str, example.shape[2:]))
    try:
        with torch.no_grad():
            out = module(example)
    except Exception as error:  # whatever the user's module raises; torch's unpooling ValueError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the model does not run at {size}: {reason}; nets whose unpooling has no "
            "output_size need multiples of 32: choose another --imgsz"
        ) from error
    if not isinstance(out, Tensor) or out.dim() != 4 or out.shape[2:] != example.shape[2:]:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise UnsupportedModelError(
            f"the model gives {shape} for an input of {tuple(example.shape)}; expected logits "
            f"(N, classes, {size.replace('x', ', ')})"
        )
    if out.shape[1] < 2:
        raise UnsupportedModelError(
            f"the model gives {tuple(out.shape)}, one class; expected logits (N, classes, "
            f"{size.replace('x', ', ')}) of 2 classes or more"
        )
    return int(out.shape[1])


def _multiple(model: ir.Model, pairs: int) -> int:
    """Return 2 ** pairs where an unpooling has no size of its own to restore, else 1."""
    bare = any(
        node.op_type == "MaxUnpool" and len([v for v in node.inputs if v is not None]) < 3
        for node in model.graph
    )
    return 2**pairs if bare else 1
