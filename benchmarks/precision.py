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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from peak import FRAMES, open_with
from peers import CLASSES, EAGER, PAUSE, TorchEngine
from profiles import of_onnxruntime
from torch import nn

from segnet_deploy.errors import SegNetError
from segnet_deploy.files import atomic_write
from segnet_deploy.frames import read_image
from segnet_deploy.machine import describe_machine, versions
from segnet_deploy.measure import interleaved, peak_rss_bytes
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.frame_io import to_frame_io
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import Segmenter
from segnet_export.checkpoints import load_checkpoint
from segnet_export.exporting import ExportOptions, finish, save
from segnet_export.models import SegNet, SegNetConfig
from segnet_export.tracing import to_onnx

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
    save(model, folder / "fp32-tensor.onnx")
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
            print(f"left out: {variant}: {str(error).splitlines()[0]}", file=sys.stderr)
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


def peak_of(variant: Variant | None, folder: Path, arguments: argparse.Namespace) -> int:
    """Return the peak resident bytes of one variant, or of eager, in a fresh process."""
    if variant is None:
        command = [__file__, "--eager-peak", "--threads", str(arguments.threads)]
        command += ["--checkpoint", arguments.checkpoint] if arguments.checkpoint else []
    else:
        path = folder / f"{variant.precision}-{variant.io}.onnx"
        switch = "--operators" if variant.operators else "--no-operators"
        program = str(Path(__file__).with_name("peak.py"))
        command = [program, str(path), variant.runtime, str(arguments.threads), switch]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
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


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the parts that were asked for."""
    module = network(arguments.checkpoint)
    write_files(module, arguments.int8, folder)
    there = [v for v in variants() if (folder / f"{v.precision}-{v.io}.onnx").exists()]
    result: dict[str, Any] = {}
    if "timing" in arguments.part:
        result["timing"] = time_all(module, folder, arguments)
    if "operators" in arguments.part:
        result["operators"] = {
            str(v): operators_of(v, folder, arguments.threads)
            for v in there
            if v.runtime == "onnxruntime"
        }
    if "memory" in arguments.part:
        result["memory"] = {EAGER: peak_of(None, folder, arguments)}
        result["memory"] |= {str(v): peak_of(v, folder, arguments) for v in there}
    return result


def main() -> None:
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
    arguments = parser.parse_args()
    if arguments.eager_peak:
        print(eager_peak(arguments.checkpoint, arguments.threads))
        return
    with tempfile.TemporaryDirectory() as name:
        result = measure(arguments, Path(name))
    path = Path(arguments.json) if arguments.json else None
    if path is not None and path.exists():
        result = json.loads(path.read_text()) | result
    result |= {
        "benchmark": "precision",
        "what": "full SegNet, frame to label map: seconds, bytes; operators: seconds per run",
        "size": list(SIZE),
        "threads": arguments.threads,
        "clock": arguments.clock,
        "weights": "checkpoint" if arguments.checkpoint else "random, seed 0",
        "machine": describe_machine(),
        "versions": versions() | {"torch": torch.__version__},
    }
    print(table(result))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
