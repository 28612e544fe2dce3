"""Ways to run the same SegNet side by side, from frame to label map.

    python benchmarks/peers.py [--checkpoint model.pt] [--json FILE]

Interleaved rounds in one process, the same frame, the same threads. Peers: PyTorch eager,
torch.compile, torch's own ONNX export in each runtime, and ours in each runtime.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from segnet_deploy import runtimes
from segnet_deploy.bench.timing import Timing, interleaved
from segnet_deploy.errors import SegNetError
from segnet_deploy.files import atomic_write
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.model_file import save_model
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.system.machine import describe_machine, versions
from segnet_deploy.types import Array
from segnet_export.checkpoints import load_checkpoint
from segnet_export.exporter import ExportOptions, finish
from segnet_export.models import SegNet, SegNetConfig
from segnet_export.torch_graph import to_onnx

CLASSES = 11
PAUSE = 0.25  # s; thread pools of other libraries spin for a while after a call
EAGER, COMPILED, OWN = "PyTorch eager", "torch.compile", "torch's own export"


class TorchEngine:
    """A PyTorch module behind the Engine protocol."""

    device = "cpu"
    lowered = False
    computes_half = True

    def __init__(
        self, name: str, call: Callable[[torch.Tensor], torch.Tensor], size: Sequence[int]
    ):
        self.name = name
        self._call = call
        self.inputs = (Port("image", (1, 3, *size), np.dtype(np.float32)),)
        self.outputs = (Port("logits", (1, CLASSES, *size), np.dtype(np.float32)),)

    def run(self, x: Array) -> Array:
        with torch.inference_mode():
            return self._call(torch.from_numpy(x)).numpy()  # type: ignore[no-any-return]

    def run_all(self, x: Array) -> dict[str, Array]:
        return {"logits": self.run(x)}

    def close(self) -> None:
        pass


def peers(
    module: nn.Module, size: Sequence[int], threads: int, folder: Path
) -> Iterator[tuple[str, Segmenter]]:
    """Yield each peer as a segmenter; one that cannot run here is reported and left out."""
    torch.set_num_threads(threads)
    example = torch.zeros(1, 3, *size)
    identity = Metadata()
    yield EAGER, Segmenter(TorchEngine("torch", module, size), identity)
    yield COMPILED, Segmenter(TorchEngine("compile", torch.compile(module), size), identity)
    own = folder / "own.onnx"
    with contextlib.redirect_stdout(sys.stderr):
        torch.onnx.export(module, (example,), own, dynamo=True, verbose=False, external_data=False)
    for runtime in runtimes.installed():
        yield from _load(f"{OWN}, {runtime}", own, runtime, threads)
    for form in ("standard", "lowered"):
        path = folder / f"{form}.onnx"
        model, _ = to_onnx(module, example)
        finish(model, CLASSES, ExportOptions(form=form))
        save_model(model, path)
        for runtime in runtimes.installed():
            if form == "lowered" or runtime != "openvino":  # which lowers both
                yield from _load(f"ours {form}, {runtime}", path, runtime, threads)


def _load(peer: str, path: Path, runtime: str, threads: int) -> Iterator[tuple[str, Segmenter]]:
    """Yield the peer, or nothing where the runtime refuses the file."""
    try:
        engine = runtimes.open(path, runtime, threads)
    except SegNetError as error:
        print(f"left out: {peer}: {str(error).splitlines()[0]}", file=sys.stderr)
        return
    # The foreign file has no metadata; identity normalisation keeps all peers alike.
    yield peer, Segmenter(engine, Metadata())


def measure(module: nn.Module, size: Sequence[int], threads: int, rounds: int) -> dict[str, Timing]:
    """Return seconds from frame to label map, by peer."""
    frame = draw_scene(0, *size).frame
    with tempfile.TemporaryDirectory() as name:
        calls: dict[str, Callable[[], object]] = {}
        expected: Any = None
        for peer, segmenter in peers(module, size, threads, Path(name)):
            print(f"preparing {peer}", file=sys.stderr)
            try:
                labels = segmenter.segment(frame)
            except (SegNetError, RuntimeError) as error:
                print(f"left out: {peer}: {str(error).splitlines()[0]}", file=sys.stderr)
                continue
            expected = labels if expected is None else expected
            print(f"  labels as {EAGER}: {(labels == expected).mean():.4%}", file=sys.stderr)
            calls[peer] = lambda segmenter=segmenter: segmenter.segment(frame)
        auto = load(Path(name) / "standard.onnx", "auto", threads=threads)
        print(f"--runtime auto takes {auto.engine.name}", file=sys.stderr)
        return interleaved(calls, rounds, warm_ups=2, pause=PAUSE)


def table(timings: dict[str, Timing]) -> str:
    """Return one line per peer: median and the ratio to eager."""
    base = timings[EAGER].median
    lines = [f"{'peer':34}{'median s':>10}{'min s':>9}{'x eager':>9}"]
    for name, timing in timings.items():
        lines.append(
            f"{name:34}{timing.median:10.3f}{min(timing.samples):9.3f}{base / timing.median:9.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--checkpoint", help="default: seeded random weights")
    parser.add_argument("--imgsz", nargs=2, type=int, default=(360, 480))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.checkpoint:
        module = load_checkpoint(arguments.checkpoint).model
    else:
        torch.manual_seed(0)
        module = SegNet(SegNetConfig.standard(CLASSES)).eval()
    timings = measure(module, arguments.imgsz, arguments.threads, arguments.rounds)
    print(table(timings))
    if arguments.json:
        result = {
            "benchmark": "peers",
            "what": "seconds from frame to label map, full SegNet, interleaved rounds",
            "size": list(arguments.imgsz),
            "threads": arguments.threads,
            "weights": "checkpoint" if arguments.checkpoint else "random, seed 0",
            "machine": describe_machine(),
            "versions": versions() | {"torch": torch.__version__},
            "peers": {n: t.summary() | {"samples": t.samples} for n, t in timings.items()},
        }
        Path(arguments.json).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(arguments.json, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
