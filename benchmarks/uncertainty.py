"""What do samples of Bayesian SegNet's dropout cost, compared with one plain pass?

    python benchmarks/uncertainty.py [--samples 4 8] [--json FILE]

The full SegNet with dropout at the paper's six places. Of its 106.7 GMAC per 360x480 frame 32.1
come before the first dropout and are computed once, so that S samples should cost (32.1 + 74.6 S) /
106.7 plain passes; all are timed in interleaved rounds. Also counts the nodes of both parts, and
times the masks, which the runtime draws for each frame.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness import options
from harness.engines import open_engine
from harness.measurement import CLOCKS, time_in_turns
from harness.networks import CLASSES, describe_weights, load_network, write_onnx
from harness.results import machine_facts, save
from segnet_deploy.bench.graph_cost import dense_work
from segnet_deploy.cli import command
from segnet_deploy.passes.graph import infer_shapes
from segnet_deploy.runtimes.base import Engine
from segnet_deploy.runtimes.model_file import load_model, save_model
from segnet_deploy.types import Size
from segnet_export import ExportOptions, place_dropout, trace
from segnet_export.exporter import finish

RUNTIMES = ("openvino", "onnxruntime")
DRAWS = 9


def write_samples(module: nn.Module, path: Path, size: Size, samples: int) -> dict[str, int]:
    """Write a file with `samples` samples; return its nodes and multiply-adds in both parts."""
    traced = trace(module, torch.zeros(1, 3, *size), mc_dropout=samples)
    finish(traced.model, CLASSES, ExportOptions())
    save_model(traced.model, path)
    graph = infer_shapes(load_model(path)).graph
    batches = [node.outputs[0].shape for node in graph if node.op_type == "Conv"]
    once = sum(shape is not None and shape[0] == 1 for shape in batches)
    work = dense_work(path)
    sampled: set[int] = set()
    masks = {id(value) for value in graph.inputs[1:]}
    for node in graph:
        if any(id(value) in sampled | masks for value in node.inputs):
            sampled |= {id(value) for value in node.outputs}
    behind = sum(id(node.outputs[0]) in sampled for node in graph)
    return {
        "nodes_once": len(graph) - behind,
        "nodes_sampled": behind,
        "convolutions_once": once,
        "convolutions_sampled": len(batches) - once,
        "macs": 0 if work is None else work.macs,
    }


def time_masks(engine: Engine) -> dict[str, float]:
    """Return the bytes of one frame's masks, and the seconds that drawing them takes."""
    assert engine.masks is not None
    seconds = []
    for _ in range(DRAWS):
        before = time.perf_counter()
        engine.masks.next()
        seconds.append(time.perf_counter() - before)
    return {"bytes": engine.masks.nbytes, "seconds": statistics.median(seconds)}


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return times in seconds, ratios and node counts."""
    module, size = load_network(arguments.checkpoint), (arguments.imgsz[0], arguments.imgsz[1])
    write_onnx(module, folder / "plain.onnx", size)
    plain = dense_work(folder / "plain.onnx")
    assert plain is not None
    place_dropout(module, "bayesian")
    files = {
        samples: write_samples(module, folder / f"{samples}.onnx", size, samples)
        for samples in arguments.samples
    }
    x = np.random.default_rng(0).random((1, 3, *size), np.float32)
    rows = {}
    for runtime in arguments.runtimes:
        arguments.progress(f"timing {runtime}")
        names = ["plain", *map(str, arguments.samples)]
        engines = {
            name: open_engine(folder / f"{name}.onnx", runtime, arguments.threads, True)
            for name in names
        }
        calls = {name: (lambda e=engine: e.run_all(x)) for name, engine in engines.items()}
        clock = CLOCKS[arguments.clock]
        timings = time_in_turns(calls, arguments.rounds, warm_ups=1, clock=clock)
        masks = {str(samples): time_masks(engines[str(samples)]) for samples in arguments.samples}
        base = timings["plain"].median
        rows[runtime] = {
            "plain_seconds": base,
            "samples": {
                str(samples): {
                    "seconds": timings[str(samples)].median,
                    "ratio": timings[str(samples)].median / base,
                    "ratio_of_work": files[samples]["macs"] / plain.macs,
                    "masks": masks[str(samples)],
                }
                for samples in arguments.samples
            },
        }
        for engine in engines.values():
            engine.close()
    return {"files": {str(samples): facts for samples, facts in files.items()}, "runtimes": rows}


def format_result(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = []
    for samples, facts in result["files"].items():
        lines.append(
            f"{samples} samples: {facts['nodes_once']} nodes once ({facts['convolutions_once']} "
            f"convolutions), {facts['nodes_sampled']} on the batch of samples "
            f"({facts['convolutions_sampled']} convolutions)"
        )
    for runtime, row in result["runtimes"].items():
        lines.append(f"{runtime}: plain pass {row['plain_seconds'] * 1e3:.0f} ms")
        for samples, found in row["samples"].items():
            lines.append(
                f"  {samples} samples {found['seconds'] * 1e3:.0f} ms, {found['ratio']:.2f} plain "
                f"passes (work {found['ratio_of_work']:.2f}, "
                f"{found['ratio'] / found['ratio_of_work'] - 1:+.1%}); masks "
                f"{found['masks']['bytes'] / 1e6:.1f} MB, {found['masks']['seconds'] * 1e3:.1f} ms"
            )
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = options.new_parser(__doc__)
    options.add_checkpoint(parser)
    options.add_size(parser)
    parser.add_argument("--samples", type=int, nargs="+", default=[4, 8], metavar="S")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    options.add_clock(parser)
    options.add_measurement(parser, threads=2)
    options.add_result(parser)
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    print(format_result(result))
    conditions = {
        "benchmark": "uncertainty",
        "what": "one plain pass against samples of dropout, whole frames of the full SegNet",
        "weights": describe_weights(arguments.checkpoint),
        "size": arguments.imgsz,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "clock": arguments.clock,
    }
    save(arguments.json, conditions | result | machine_facts())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
