"""What do INT8, our operators and frame io change in each runtime: time, labels, memory?

    python benchmarks/precision.py --int8 int8.onnx [--checkpoint model.pt] [--json FILE]

Measures the full SegNet from frame to label map, in three parts: interleaved rounds in one
process with PyTorch eager; time by operator in ONNX Runtime; peak memory of each variant in a
separate process. `--part` runs some of them and adds them to an existing JSON file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from harness import options
from harness.child import ask_child
from harness.engines import open_engine
from harness.measurement import (
    CLOCKS,
    measure_each,
    report_left_out,
    time_by_operator,
    time_in_turns,
)
from harness.networks import EAGER, TorchEngine, describe_weights, load_network, write_onnx
from harness.results import library_versions, machine_facts, resume, save
from segnet_deploy.cli import command
from segnet_deploy.errors import SegNetError
from segnet_deploy.files import sha256
from segnet_deploy.frames import read_image
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_frame_io import to_frame_io
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Size
from segnet_export import ExportOptions

PARTS = ("timing", "operators", "memory")


@dataclass(frozen=True)
class Variant:
    """One way to run the network."""

    precision: str
    runtime: str
    operators: bool
    io: str

    def __str__(self) -> str:
        ours = " + ops" if self.operators else ""
        return f"{self.precision} {self.runtime}{ours}, {self.io} io"

    def path(self, folder: Path) -> Path:
        """Return this variant's file in `folder`."""
        return folder / f"{self.precision}-{self.io}.onnx"

    def open(self, folder: Path, threads: int) -> Segmenter:
        """Open this variant's file in `folder`."""
        return Segmenter(open_engine(self.path(folder), self.runtime, threads, self.operators))


def list_variants() -> list[Variant]:
    """Return what is compared."""
    ways = [("ncnn", False), ("openvino", False), ("onnxruntime", False), ("onnxruntime", True)]
    return [
        Variant(precision, runtime, operators, io)
        for precision in ("fp32", "int8")
        for runtime, operators in ways
        for io in ("tensor", "frame")
    ]


def write_files(module: nn.Module, int8: str | None, folder: Path, size: Size) -> None:
    """Write the fp32 file with the INT8 file's normalisation, and both also with frame io."""
    given = Metadata.from_props(ModelFile.read(int8).props) if int8 else Metadata()
    normalisation = ExportOptions(mean=given.mean, std=given.std, channel_order=given.channel_order)
    write_onnx(module, folder / "fp32-tensor.onnx", size, normalisation)
    if int8:
        (folder / "int8-tensor.onnx").write_bytes(Path(int8).read_bytes())
    for path in list(folder.glob("*-tensor.onnx")):
        model = ir.load(path)
        metadata = Metadata.from_props(dict(model.metadata_props))
        model = to_frame_io(model, metadata.mean, metadata.std, metadata.channel_order).model
        ir.save(model, path.with_name(path.name.replace("tensor", "frame")))


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Measure the chosen parts, and yield each when it is done."""
    module, size = load_network(arguments.checkpoint), (arguments.imgsz[0], arguments.imgsz[1])
    write_files(module, arguments.int8, folder, size)
    variants = [variant for variant in list_variants() if variant.path(folder).exists()]
    if "timing" in arguments.part:
        yield {"timing": time_all(module, variants, folder, arguments)}
    if "operators" in arguments.part:
        profiled = [variant for variant in variants if variant.runtime == "onnxruntime"]
        profile = partial(operators_of, folder=folder, threads=arguments.threads)
        yield {"operators": measure_each(profiled, profile, arguments.progress)}
    if "memory" in arguments.part:
        peak = partial(peak_of, folder=folder, arguments=arguments)
        yield {"memory": measure_each([EAGER, *variants], peak, arguments.progress)}


def time_all(
    module: nn.Module, variants: Sequence[Variant], folder: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return seconds from frame to label map, and the share of eager's labels, by variant."""
    threads, size = arguments.threads, (arguments.imgsz[0], arguments.imgsz[1])
    torch.set_num_threads(threads)
    frame = read_image(arguments.image) if arguments.image else draw_scene(0, *size).frame
    metadata = Metadata.from_props(ModelFile.read(folder / "fp32-tensor.onnx").props)
    eager = Segmenter(TorchEngine("torch", module, size), metadata)
    segmenters = {EAGER: eager}
    for variant in variants:
        try:
            segmenters[str(variant)] = variant.open(folder, threads)
        except SegNetError as error:
            report_left_out(variant, error, arguments.progress)
    expected = eager.segment(frame)
    agreement = {
        name: float((segmenter.segment(frame) == expected).mean())
        for name, segmenter in segmenters.items()
    }
    calls = {name: partial(segmenter.segment, frame) for name, segmenter in segmenters.items()}
    clock = CLOCKS[arguments.clock]
    timings = time_in_turns(calls, arguments.rounds, warm_ups=0, clock=clock)
    return {
        name: timing.summary() | {"samples": timing.samples, "labels_as_eager": agreement[name]}
        for name, timing in timings.items()
    }


def operators_of(variant: Variant, folder: Path, threads: int) -> dict[str, float]:
    """Return seconds per run by operator, the slowest first."""
    with variant.open(folder, threads) as segmenter:
        port = segmenter.engine.inputs[0]
        x = np.zeros([size or 1 for size in port.shape], port.dtype)
        return time_by_operator(segmenter.engine, x)


def peak_of(variant: Variant | str, folder: Path, arguments: argparse.Namespace) -> int | None:
    """Return the peak resident bytes of one variant, or of eager, in a fresh process.

    Raises EngineError.
    """
    if isinstance(variant, str):
        task, facts = "eager", {"checkpoint": arguments.checkpoint, "size": arguments.imgsz}
    else:
        task = "file"
        facts = {
            "path": str(variant.path(folder)),
            "runtime": variant.runtime,
            "operators": variant.operators,
        }
    peak: int | None = ask_child("harness.peak_memory", task, threads=arguments.threads, **facts)
    return peak


def conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the parts of one file must have in common."""
    return {
        "benchmark": "precision",
        "size": list(arguments.imgsz),
        "threads": arguments.threads,
        "clock": arguments.clock,
        "weights": describe_weights(arguments.checkpoint),
        "int8_sha256": sha256(arguments.int8) if arguments.int8 else None,
        "versions": library_versions(),
    }


def format_table(result: dict[str, Any]) -> str:
    """Return one line per variant, and the time by operator in ONNX Runtime."""
    timing, memory = result.get("timing", {}), result.get("memory", {})
    base = timing[EAGER]["median"] if timing else None
    lines = [f"{'':38}{'median s':>10}{'x eager':>9}{'labels':>9}{'peak MB':>9}"]
    for name in timing or memory:
        row, peak = timing.get(name), memory.get(name)
        speed = f"{row['median']:10.3f}{base / row['median']:9.2f}" if row else " " * 19
        labels = f"{row['labels_as_eager']:9.2%}" if row else " " * 9
        lines.append(f"{name:38}{speed}{labels}{peak / 1e6 if peak else float('nan'):9.0f}")
    for name, seconds in result.get("operators", {}).items():
        shown = ", ".join(f"{op} {value * 1e3:.1f}" for op, value in seconds.items())
        lines.append(f"{name}, ms: {shown}")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = options.new_parser(__doc__)
    options.add_checkpoint(parser)
    parser.add_argument("--int8", metavar="FILE", help="quantised ONNX file in standard form")
    parser.add_argument("--image", metavar="FILE", help="frame to time (default: a drawn one)")
    options.add_size(parser)
    options.add_measurement(parser, torch.get_num_threads())
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    options.add_clock(parser)
    options.add_result(parser)
    return parser


def precision(arguments: argparse.Namespace) -> None:
    """Measure part by part, and save after each."""
    common = conditions(arguments)
    result = resume(arguments.json, common) | machine_facts() | common
    result["what"] = "full SegNet, frame to label map: seconds, bytes; operators: seconds per run"
    with tempfile.TemporaryDirectory() as name:
        for part in measure(arguments, Path(name)):
            result |= part
            save(arguments.json, result)
    print(format_table(result))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), precision, argv)


if __name__ == "__main__":
    sys.exit(main())
