"""PyTorch module -> ONNX file with its pooling indices intact, checked before it is written.

`export` is `trace` followed by `write`. `trace` runs torch's exporter, which takes most of the
time; `write` turns the traced graph into a file, and can be called again for other forms.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
from torch import Tensor, nn

from segnet_deploy.accuracy.gate_inputs import BatchSize, GateInput, InputMaker
from segnet_deploy.classes import load_classes
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.files import atomic_path
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.cast_frame_first import cast_frame_first
from segnet_deploy.passes.sample_dropout import NO_DROPOUT, check_samples, sample_dropout
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_frame_io import LABELS, to_frame_io
from segnet_deploy.passes.to_precision import to_precision
from segnet_deploy.passes.to_two_classes import THRESHOLD, to_two_classes
from segnet_deploy.progress import Progress, naming, silent
from segnet_deploy.runtimes.model_file import save_model
from segnet_deploy.system.machine import exporter_versions
from segnet_export.binary_outputs import BinaryOutputs, find_binary
from segnet_export.check_module import check_inputs, count_channels
from segnet_export.dropout_calls import DropoutCalls
from segnet_export.export_options import ExportOptions, GateOptions
from segnet_export.module_outputs import NamedOutputs, choose_outputs
from segnet_export.parity.gate import gate, gate_reduced
from segnet_export.parity.report import GateReport
from segnet_export.torch_graph import evaluation_mode, to_onnx, total_stride
from segnet_export.trial_run import check_repeatable, run_once

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from segnet_export.export_options import ExportKeywords, Keywords

_FIXED = {"opset", "dynamic", "outputs", "mc_dropout"}  # by a trace


@dataclass(frozen=True)
class ExportResult:
    """The file at `path`, its metadata, its number of pool/unpool pairs, and the gate's report.

    Returned by `export` and `write`, which have an example.
    """

    path: Path
    metadata: Metadata
    pairs: int
    gate: GateReport


@dataclass(frozen=True)
class Trace:
    """A module's graph as torch exported it, from which `write` makes any number of files.

    `module` returns what the files have as outputs, and `outputs` are their names, the label output
    first; `example` is (N, C, H, W) float32; `pairs` counts the pools of `model` whose indices are
    used, and `classes` the channels of its label output. Made by `trace`, which has an example.
    """

    module: NamedOutputs
    example: Tensor
    options: ExportOptions
    model: ir.Model
    pairs: int
    classes: int

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, the label output first."""
        return self.module.names


def export(
    module: nn.Module,
    example: Tensor,
    path: str | os.PathLike[str] = "segnet.onnx",
    *,
    progress: Progress = silent,
    **options: Unpack[Keywords],
) -> ExportResult:
    """Export a module with max-pool/unpool pairs to `path`, and check the file against it.

    `example` is (N, C, H, W) float32; the file has its sizes in px, except for those that are
    `dynamic`. All tensors that the module returns are exported, or those of the option `outputs`.
    `options` are the fields of ExportOptions and of GateOptions. A reduced precision is written
    after the fp32 graph has passed the gate. `progress` receives one message per step.

    Raises InputError (unusable options or sizes), UnsupportedModelError (the module cannot be
    exported exactly) or ParityError (the file disagrees with the module); then no file is left.

    >>> import torch
    >>> from segnet_export import SegNet, SegNetConfig, export
    >>> module = SegNet(SegNetConfig.standard(5, width=2))
    >>> example = torch.zeros(1, 3, 32, 32)
    >>> result = export(module, example, form="lowered", runtimes=["onnxruntime"])
    >>> result.pairs, result.metadata.form, result.gate.passed
    (5, 'lowered', True)
    """
    progress("exporting")
    checks, chosen = _split(options)
    traced = _trace(module, example, ExportOptions(**chosen))
    if isinstance(traced.module, BinaryOutputs):
        progress(f"note: {traced.module.note}")
    return _write(traced, path, checks, progress)


def trace(module: nn.Module, example: Tensor, **options: Unpack[ExportKeywords]) -> Trace:
    """Run torch's exporter on `module`; `write` makes files of the result.

    `example` is (N, C, H, W) float32. `options` are the fields of ExportOptions, of which `opset`,
    `dynamic`, `outputs` and `mc_dropout` are fixed from here on. Raises InputError or
    UnsupportedModelError.

    >>> import torch
    >>> from segnet_export import SegNetBasic, trace, write
    >>> traced = trace(SegNetBasic(5, width=2), torch.zeros(1, 3, 32, 32))
    >>> traced.pairs, traced.classes
    (4, 5)
    >>> result = write(traced, "plugin.onnx", form="plugin", runtimes=["onnxruntime"])
    >>> result.metadata.form
    'plugin'
    """
    return _trace(module, example, ExportOptions(**options))


def write(
    traced: Trace,
    path: str | os.PathLike[str] = "segnet.onnx",
    *,
    progress: Progress = silent,
    **options: Unpack[Keywords],
) -> ExportResult:
    """Write one file of `traced` to `path`, and check it.

    `options` are the fields of GateOptions and of ExportOptions; the latter replace those of the
    trace, except those that it fixed. Errors as of `export`, and an example at `trace`.
    """
    checks, changes = _split(options)
    if fixed := _FIXED & set(changes):
        raise InputError(f"{', '.join(sorted(fixed))} cannot change after the trace; trace again")
    changed = replace(traced, options=replace(traced.options, **changes))
    return _write(changed, path, checks, progress)


def finish(
    model: ir.Model, classes: int, options: ExportOptions, threshold: float = 0.0
) -> Metadata:
    """Rewrite `model` in place to the form and io of `options`; record and return its metadata."""
    recorded = Metadata.from_props(dict(model.metadata_props))  # by sample_dropout
    metadata = replace(
        _describe(options, classes),
        label_output=str(model.graph.outputs[0].name),
        threshold=threshold,
        samples=recorded.samples,
        dropout=recorded.dropout,
    )
    if options.io == "frame":
        metadata = replace(metadata, label_output=LABELS)
        to_frame_io(model, options.mean, options.std, options.channel_order)
    if options.form == "plugin":
        cast_frame_first(model)  # trtexec reads the file as it is
    to_form(model, options.form)
    model.metadata_props.update(metadata.to_props())
    return metadata


def _split(options: Keywords) -> tuple[GateOptions, dict[str, Any]]:
    """Return the gate's options, and the keywords of ExportOptions."""
    names = {item.name for item in fields(GateOptions)}
    checks: dict[str, Any] = {n: v for n, v in options.items() if n in names}
    return GateOptions(**checks), {n: v for n, v in options.items() if n not in names}


def _trace(module: nn.Module, example: Tensor, options: ExportOptions) -> Trace:
    with evaluation_mode(module):
        check_inputs(module, example)
        if options.mc_dropout:
            _check_sampling(module, example, options)
        found = run_once(module, example)
        check_repeatable(module, example, found)
        names = choose_outputs(found, options.outputs)
        classes = count_channels(found, names[0], example)
        wrapped = NamedOutputs(module, names)
        kind = find_binary(module, example, names[0]) if classes == 1 else ""
        if kind and options.mc_dropout:
            raise UnsupportedModelError("mc_dropout needs 2 classes or more; the model has one")
        classes = 2 if kind else classes
        _describe(options, classes)  # reports wrong options before the long part
        model, pairs = to_onnx(
            wrapped,
            example,
            options.opset,
            options.dynamic,
            wrapped.names,
            dropout=bool(options.mc_dropout),
        )
    if kind:
        model = to_two_classes(model, kind).model
        wrapped = BinaryOutputs(module, names, kind)
    if options.mc_dropout:
        model = sample_dropout(model, options.mc_dropout).model
    if options.dynamic == "size" and options.multiple == 1:
        options = replace(options, multiple=_multiple(model))
    return Trace(wrapped, example, options, model, pairs, classes)


def _check_sampling(module: nn.Module, example: Tensor, options: ExportOptions) -> None:
    """Raise InputError or UnsupportedModelError for what cannot be sampled, before the trace."""
    check_samples(options.mc_dropout)
    if options.dynamic is not None or example.shape[0] != 1:
        raise InputError(
            "mc_dropout needs one image of static size, since the masks are inputs of that size: "
            "use --batch 1 without --dynamic"
        )
    with DropoutCalls(lambda x, *_: x) as calls:
        run_once(module, example)
    if not calls.count:
        raise UnsupportedModelError(NO_DROPOUT)


def _write(
    traced: Trace, path: str | os.PathLike[str], checks: GateOptions, progress: Progress
) -> ExportResult:
    model, module, options = traced.model.clone(), traced.module, traced.options
    inputs = _gate_inputs(traced, checks)
    with evaluation_mode(module), atomic_path(path) as temporary:
        progress = naming(progress, temporary, path)
        threshold = THRESHOLD if isinstance(module, BinaryOutputs) else 0.0
        metadata = finish(model, traced.classes, options, threshold)
        save_model(model, temporary)
        report = gate(
            temporary,
            module,
            inputs,
            runtimes=checks.runtimes,
            min_agreement=checks.min_agreement,
            progress=progress,
        )
        if options.precision != "fp32":
            metadata = _reduce(model, metadata, options.precision, temporary)
            reduced = gate_reduced(
                temporary,
                module,
                inputs,
                checks.runtimes,
                checks.min_reduced,
                progress,
                precision=options.precision,
            )
            report = report.joined(reduced)
    return ExportResult(Path(path), metadata, traced.pairs, report)


def _reduce(model: ir.Model, metadata: Metadata, precision: str, path: Path) -> Metadata:
    """Write `model` in `precision`; return its metadata."""
    reduced = replace(metadata, precision=precision)
    model = to_precision(model, precision).model
    model.metadata_props.update(reduced.to_props())
    save_model(model, path)
    return reduced


def _gate_inputs(traced: Trace, checks: GateOptions) -> list[GateInput]:
    options = traced.options
    maker = InputMaker(
        traced.example.shape[1],
        options.mean,
        options.std,
        options.channel_order,
        options.io,
        checks.images,
    )
    inputs = maker.make(_gate_sizes(traced))
    if options.mc_dropout:  # PyTorch runs every sample: one input with ties is enough
        inputs = [item for item in inputs if not item.adversarial or item.name.endswith("ties")]
    return [item for item in inputs if checks.adversarial or not item.adversarial]


def _gate_sizes(traced: Trace) -> list[BatchSize]:
    """Return each (batch, height, width) to check: three sizes and two batches if dynamic."""
    batch, _, height, width = traced.example.shape
    if traced.options.dynamic is None:
        return [(batch, height, width)]
    if traced.options.dynamic == "batch":
        return [(batch, height, width), (3, height, width), (1, height, width)]
    multiple = traced.options.multiple
    step: int = max(2, multiple)
    minimum: int = total_stride(traced.model.graph)

    def round_down(size: int) -> int:
        return max(minimum, size // step * step)

    odd = 1 if multiple == 1 else 0
    smaller = (round_down(height // 2) + odd, round_down(width // 2) + odd)
    larger = (round_down(height * 5 // 8), round_down(width * 3 // 4))
    return [(1, height, width), (3, *smaller), (1, *larger)]


def _describe(options: ExportOptions, classes: int) -> Metadata:
    """Return the metadata of an fp32 file. Raises InputError."""
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
        exporter_versions(),
    )


def _multiple(model: ir.Model) -> int:
    """Return the network's total stride if an unpooling has no output size, else 1."""
    without_size = any(
        node.op_type == "MaxUnpool" and sum(value is not None for value in node.inputs) < 3
        for node in model.graph
    )
    return total_stride(model.graph) if without_size else 1
