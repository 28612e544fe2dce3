"""How fast is each way to run the same SegNet, from frame to label map?

    python benchmarks/peers.py [--checkpoint model.pt] [--json FILE]

Measures interleaved rounds in one process, on the same frame, with the same threads. Peers:
PyTorch eager, torch.compile, torch's own ONNX export in each runtime, and ours in each runtime.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness import options
from harness.measurement import report_left_out, time_in_turns
from harness.networks import EAGER, TorchEngine, describe_weights, load_network, write_onnx
from harness.results import machine_facts, save
from segnet_deploy import runtimes
from segnet_deploy.bench.timing import Timing
from segnet_deploy.cli import command
from segnet_deploy.errors import SegNetError
from segnet_deploy.metadata import Metadata
from segnet_deploy.progress import Progress
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.types import Size
from segnet_export import ExportOptions

COMPILED, OWN = "torch.compile", "torch's own export"


def find_peers(
    module: nn.Module, size: Size, threads: int, folder: Path, progress: Progress
) -> Iterator[tuple[str, Segmenter]]:
    """Yield each peer as a segmenter; one that cannot run here is reported and left out."""
    torch.set_num_threads(threads)
    yield EAGER, Segmenter(TorchEngine("torch", module, size))
    yield COMPILED, Segmenter(TorchEngine("compile", torch.compile(module), size))
    for peer, path, runtime in _export(module, size, folder):
        try:
            engine = runtimes.open(path, runtime, threads)
        except SegNetError as error:
            report_left_out(peer, error, progress)
            continue
        # Torch's own file has no metadata; without normalisation all peers do the same work.
        yield peer, Segmenter(engine, Metadata())


def _export(module: nn.Module, size: Size, folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Write torch's own file and ours; yield the name, file and runtime of each peer."""
    own = folder / "own.onnx"
    example = torch.zeros(1, 3, *size)
    with contextlib.redirect_stdout(sys.stderr):
        torch.onnx.export(module, (example,), own, dynamo=True, verbose=False, external_data=False)
    for runtime in runtimes.installed():
        yield f"{OWN}, {runtime}", own, runtime
    for form in ("standard", "lowered"):
        path = folder / f"{form}.onnx"
        write_onnx(module, path, size, ExportOptions(form=form))
        for runtime in runtimes.installed():
            if form == "lowered" or runtime != "openvino":  # OpenVINO lowers the standard form
                yield f"ours {form}, {runtime}", path, runtime


def measure(
    module: nn.Module, size: Size, threads: int, rounds: int, progress: Progress
) -> dict[str, Timing]:
    """Return seconds from frame to label map, by peer."""
    frame = draw_scene(0, *size).frame
    with tempfile.TemporaryDirectory() as name:
        calls: dict[str, Callable[[], object]] = {}
        expected: Any = None
        for peer, segmenter in find_peers(module, size, threads, Path(name), progress):
            progress(f"preparing {peer}")
            try:
                labels = segmenter.segment(frame)
            except (SegNetError, RuntimeError) as error:
                report_left_out(peer, error, progress)
                continue
            expected = labels if expected is None else expected
            progress(f"  labels equal to {EAGER}: {(labels == expected).mean():.4%}")
            calls[peer] = partial(segmenter.segment, frame)
        with load(Path(name) / "standard.onnx", "auto", threads=threads) as auto:
            progress(f"--runtime auto selects {auto.engine.name}")
        return time_in_turns(calls, rounds)


def format_table(timings: dict[str, Timing]) -> str:
    """Return one line per peer: median, minimum and the ratio to eager."""
    base = timings[EAGER].median
    lines = [f"{'peer':34}{'median s':>10}{'min s':>9}{'x eager':>9}"]
    for name, timing in timings.items():
        lines.append(
            f"{name:34}{timing.median:10.3f}{min(timing.samples):9.3f}{base / timing.median:9.2f}"
        )
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = options.new_parser(__doc__)
    options.add_checkpoint(parser)
    options.add_size(parser)
    options.add_measurement(parser, torch.get_num_threads())
    options.add_result(parser)
    return parser


def peers(arguments: argparse.Namespace) -> None:
    """Measure, print and save."""
    size = (arguments.imgsz[0], arguments.imgsz[1])
    module = load_network(arguments.checkpoint)
    timings = measure(module, size, arguments.threads, arguments.rounds, arguments.progress)
    print(format_table(timings))
    result = {
        "benchmark": "peers",
        "what": "seconds from frame to label map, full SegNet, interleaved rounds",
        "size": list(size),
        "threads": arguments.threads,
        "weights": describe_weights(arguments.checkpoint),
        **machine_facts(),
        "peers": {n: t.summary() | {"samples": t.samples} for n, t in timings.items()},
    }
    save(arguments.json, result)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), peers, argv)


if __name__ == "__main__":
    sys.exit(main())
