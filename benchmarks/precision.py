"""fp32 and INT8 in each runtime, with and without our operators, tensor and frame io.

    python benchmarks/precision.py --int8 int8.onnx [--checkpoint model.pt] [--json FILE]

The full SegNet from frame to label map: interleaved rounds in one process beside PyTorch eager,
where the time goes by operator in ONNX Runtime, and each variant's peak memory in a process of
its own. `--part` runs one of the three and adds it to the JSON file that is there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from peak_memory import FRAMES, open_with
from peers import CLASSES, EAGER, PAUSE, TorchEngine
from time_by_layer import of_onnxruntime
from torch import nn

from segnet_deploy.bench.timing import interleaved
from segnet_deploy.cli import command
from segnet_deploy.errors import EngineError, InputError, SegNetError
from segnet_deploy.files import atomic_write, make_folder, sha256
from segnet_deploy.frames import read_image
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_frame_io import to_frame_io
from segnet_deploy.runtimes.model_file import ModelFile, save_model
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.system.machine import describe_machine, versions
from segnet_deploy.system.memory import peak_rss_bytes
from segnet_export.checkpoints import load_checkpoint
from segnet_export.exporter import ExportOptions, finish
from segnet_export.models import SegNet, SegNetConfig
from segnet_export.torch_graph import to_onnx

SIZE = (360, 480)
PARTS = ("timing", "operators", "memory")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Variant:
    """One way to run the net."""

    precision: str
    runtime: str
    operators: bool
    io: str

    def __str__(self) -> str:
        ours = " + ops" if self.operators else ""
        return f"{self.precision} {self.runtime}{ours}, {self.io} io"

    def open(self, folder: Path, threads: int) -> Segmenter:
        """Load this variant's file of `folder`."""
        file = ModelFile.read(folder / f"{self.precision}-{self.io}.onnx")
        engine = open_with(file, self.runtime, threads, self.operators)
        return Segmenter(engine, Metadata.from_props(file.props))


def variants() -> list[Variant]:
    """Return what is compared."""
    ways = [("ncnn", False), ("openvino", False), ("onnxruntime", False), ("onnxruntime", True)]
    return [
        Variant(precision, runtime, operators, io)
        for precision in ("fp32", "int8")
        for runtime, operators in ways
        for io in ("tensor", "frame")
    ]


def write_files(module: nn.Module, int8: str | None, folder: Path) -> None:
    """Write the fp32 file, normalised as the INT8 one, and each file with frame io."""
    model, _ = to_onnx(module, torch.zeros(1, 3, *SIZE))
    said = Metadata.from_props(ModelFile.read(int8).props) if int8 else Metadata()
    finish(
        model,
        CLASSES,
        ExportOptions(mean=said.mean, std=said.std, channel_order=said.channel_order),
    )
    save_model(model, folder / "fp32-tensor.onnx")
    if int8:
        (folder / "int8-tensor.onnx").write_bytes(Path(int8).read_bytes())
    for path in list(folder.glob("*-tensor.onnx")):
        model = ir.load(path)
        metadata = Metadata.from_props(dict(model.metadata_props))
        model = to_frame_io(model, metadata.mean, metadata.std, metadata.channel_order).model
        ir.save(model, path.with_name(path.name.replace("tensor", "frame")))


def time_all(module: nn.Module, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return seconds from frame to label map, by variant."""
    threads = arguments.threads
    torch.set_num_threads(threads)
    frame = read_image(arguments.image) if arguments.image else draw_scene(0, *SIZE).frame
    metadata = Metadata.from_props(ModelFile.read(folder / "fp32-tensor.onnx").props)
    eager = Segmenter(TorchEngine("torch", module, SIZE), metadata)
    segmenters = {EAGER: eager}
    for variant in variants():
        try:
            segmenters[str(variant)] = variant.open(folder, threads)
        except SegNetError as error:
            leave_out(variant, error)
    expected = eager.segment(frame)
    calls: dict[str, Callable[[], object]] = {
        name: lambda segmenter=segmenter: segmenter.segment(frame)
        for name, segmenter in segmenters.items()
    }
    agreement = {
        name: float((segmenter.segment(frame) == expected).mean())
        for name, segmenter in segmenters.items()
    }
    clock = CLOCKS[arguments.clock]
    timings = interleaved(calls, arguments.rounds, warm_ups=0, pause=PAUSE, clock=clock)
    return {
        name: timing.summary() | {"samples": timing.samples, "labels_as_eager": agreement[name]}
        for name, timing in timings.items()
    }


def operators_of(variant: Variant, folder: Path, threads: int) -> dict[str, float]:
    """Return seconds per run by operator of ONNX Runtime, the largest first."""
    engine: Any = variant.open(folder, threads).engine
    port = engine.inputs[0]
    x = np.zeros(port.shape, port.dtype)
    found = of_onnxruntime(engine, threads, x, folder)
    return {name: ms / 1e3 for name, ms in found.most_common()}


def peak_of(variant: Variant | str, folder: Path, arguments: argparse.Namespace) -> int:
    """Return the peak resident bytes of one variant, or of eager, in a fresh process.

    Raises EngineError.
    """
    if isinstance(variant, str):
        command = [__file__, "--eager-peak", "--threads", str(arguments.threads)]
        command += ["--checkpoint", arguments.checkpoint] if arguments.checkpoint else []
    else:
        path = folder / f"{variant.precision}-{variant.io}.onnx"
        switch = "--operators" if variant.operators else "--no-operators"
        program = str(Path(__file__).with_name("peak_memory.py"))
        command = [program, str(path), variant.runtime, str(arguments.threads), switch]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing said"]
        raise EngineError(f"its process ended with status {done.returncode}: {said[-1]}")
    return int(done.stdout.splitlines()[-1])


def eager_peak(checkpoint: str | None, threads: int) -> int | None:
    """Segment three frames with PyTorch eager; return this process's peak memory."""
    torch.set_num_threads(threads)
    segmenter = Segmenter(TorchEngine("torch", network(checkpoint), SIZE), Metadata())
    frame = draw_scene(0, *SIZE).frame
    for _ in range(FRAMES):
        segmenter.segment(frame)
    return peak_rss_bytes()


def network(checkpoint: str | None) -> nn.Module:
    """Return the checkpoint's network, or one of random weights."""
    if checkpoint:
        return load_checkpoint(checkpoint).model
    torch.manual_seed(0)
    return SegNet(SegNetConfig.standard(CLASSES)).eval()


def table(result: dict[str, Any]) -> str:
    """Return the readable form."""
    lines = []
    timing, memory = result.get("timing", {}), result.get("memory", {})
    base = timing[EAGER]["median"] if timing else None
    lines.append(f"{'':38}{'median s':>10}{'x eager':>9}{'labels':>9}{'peak MB':>9}")
    for name in timing or memory:
        row, peak = timing.get(name), memory.get(name)
        speed = f"{row['median']:10.3f}{base / row['median']:9.2f}" if row else " " * 19
        labels = f"{row['labels_as_eager']:9.2%}" if row else " " * 9
        lines.append(f"{name:38}{speed}{labels}{peak / 1e6 if peak else float('nan'):9.0f}")
    for name, seconds in result.get("operators", {}).items():
        shown = ", ".join(f"{op} {value * 1e3:.1f}" for op, value in seconds.items())
        lines.append(f"{name}, ms: {shown}")
    return "\n".join(lines)


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Run the parts that were asked for, and yield each."""
    module = network(arguments.checkpoint)
    write_files(module, arguments.int8, folder)
    there = [v for v in variants() if (folder / f"{v.precision}-{v.io}.onnx").exists()]
    if "timing" in arguments.part:
        yield {"timing": time_all(module, folder, arguments)}
    if "operators" in arguments.part:
        profiled = [v for v in there if v.runtime == "onnxruntime"]
        yield {"operators": of_each(profiled, lambda v: operators_of(v, folder, arguments.threads))}
    if "memory" in arguments.part:
        yield {"memory": of_each([EAGER, *there], lambda v: peak_of(v, folder, arguments))}


def of_each(ways: Sequence[Variant | str], figure: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the figure of each way; one that cannot run is named and left out."""
    found = {}
    for way in ways:
        try:
            found[str(way)] = figure(way)
        except SegNetError as error:
            leave_out(way, error)
    return found


def leave_out(way: Variant | str, error: SegNetError) -> None:
    """Say what cannot run, and why."""
    print(f"left out: {way}: {str(error).splitlines()[0]}", file=sys.stderr)


def conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the parts of one file must have in common."""
    return {
        "benchmark": "precision",
        "size": list(SIZE),
        "threads": arguments.threads,
        "clock": arguments.clock,
        "weights": "checkpoint" if arguments.checkpoint else "random, seed 0",
        "int8_sha256": sha256(arguments.int8) if arguments.int8 else None,
        "versions": versions() | {"torch": torch.__version__},
    }


def begin(path: Path | None, common: dict[str, Any]) -> dict[str, Any]:
    """Return what earlier calls left in `path`. Raises InputError where it does not go with this.

    The folder is made here, so that no figure is lost for want of one.
    """
    if path is None:
        return {}
    make_folder(path.parent)
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        other = [key for key, value in common.items() if found.get(key) != value]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}); give another --json") from error
    if other:
        key = other[0]
        raise InputError(
            f"{path} was measured with {key} {found.get(key)}, now {common[key]}; give the same, "
            "or another --json"
        )
    return found


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--checkpoint", help="default: seeded random weights")
    parser.add_argument("--int8", metavar="FILE", help="quantised ONNX file, standard form")
    parser.add_argument("--image", metavar="F", help="frame of the timing (default: a drawn one)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: processor time, with --threads 1 on a machine that others use too",
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--eager-peak", action="store_true", help=argparse.SUPPRESS)
    return parser


def precision(arguments: argparse.Namespace) -> None:
    """Measure part by part, each saved when it is done."""
    if arguments.eager_peak:
        print(eager_peak(arguments.checkpoint, arguments.threads))
        return
    path = Path(arguments.json) if arguments.json else None
    common = conditions(arguments)
    result = begin(path, common) | common | {"machine": describe_machine()}
    result["what"] = "full SegNet, frame to label map: seconds, bytes; operators: seconds per run"
    with tempfile.TemporaryDirectory() as name:
        for part in measure(arguments, Path(name)):
            result |= part
            if path is not None:
                atomic_write(path, (json.dumps(result, indent=2) + "\n").encode())
    print(table(result))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), precision, argv)


if __name__ == "__main__":
    sys.exit(main())
