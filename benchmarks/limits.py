"""How far each engine is from what this machine can do at most, and where the rest goes.

    python benchmarks/limits.py [--onnx FILE] [--int8 FILE] [--json FILE]

The ceilings (a compiled loop of multiply-adds, the largest library GEMM, memcpy) and the engines
are measured in one run, engines in interleaved rounds. The dense floor is the net's multiply-adds
at the ceiling; Winograd convolutions do fewer of them, so an engine with those can lie below it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from ceilings import measure_ceilings
from time_by_layer import profile

from segnet_deploy import runtimes
from segnet_deploy.bench.timing import interleaved
from segnet_deploy.errors import SegNetError
from segnet_deploy.files import atomic_write
from segnet_deploy.passes.graph import infer_shapes
from segnet_deploy.system.machine import describe_machine, versions

PAUSE = 0.25  # s, as in peers.py
SHOWN = 6  # kinds of layers a line


def count_macs(path: Path) -> float:
    """Return the multiply-adds of the convolutions of a file with static shapes, in 1e9."""
    model = infer_shapes(ir.load(path))
    total = 0
    for node in model.graph:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        # A weight works once per output pixel, that of a transposed one once per input pixel.
        place = node.outputs[0] if node.op_type == "Conv" else node.inputs[0]
        shape, weight = np.array(place.shape), np.array(node.inputs[1].shape)  # type: ignore[union-attr]
        total += int(weight.prod() * shape[[0, 2, 3]].prod())
    return total / 1e9


def write_segnet(path: Path, size: Sequence[int]) -> None:
    """Write the full SegNet with seeded random weights, frame in, label map out."""
    import torch

    from segnet_deploy.runtimes.model_file import save_model
    from segnet_export.exporter import ExportOptions, finish
    from segnet_export.models import SegNet, SegNetConfig
    from segnet_export.torch_graph import to_onnx

    torch.manual_seed(0)
    module = SegNet(SegNetConfig.standard(11)).eval()
    model, _ = to_onnx(module, torch.zeros(1, 3, *size))
    finish(model, 11, ExportOptions(io="frame"))
    save_model(model, path)


def measure(
    files: dict[str, Path], ceilings: dict[str, Any], threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Return one row per precision and runtime."""
    rows, calls, inputs = [], {}, {}
    for kind, path in files.items():
        for runtime in runtimes.installed():
            try:
                engine = runtimes.open(path, runtime, threads)
            except SegNetError as error:
                print(f"left out: {kind}, {runtime}: {error}", file=sys.stderr)
                continue
            port = engine.inputs[0]
            rng = np.random.default_rng(0)
            x = rng.integers(0, 256, [n or 1 for n in port.shape]).astype(port.dtype)
            inputs[kind, runtime] = x
            calls[f"{kind}, {runtime}"] = lambda engine=engine, x=x: engine.run(x)
    timings = interleaved(calls, rounds, warm_ups=2, pause=PAUSE)
    macs = {kind: count_macs(path) for kind, path in files.items()}
    with tempfile.TemporaryDirectory() as folder:
        for (kind, runtime), x in inputs.items():
            timing = timings[f"{kind}, {runtime}"]
            floor = macs[kind] / ceilings["gmacs"][kind]
            rows.append(
                {
                    "precision": kind,
                    "runtime": runtime,
                    "seconds": timing.summary(),
                    "gmac": macs[kind],
                    "dense_floor_seconds": floor,
                    "of_floor": timing.median / floor,
                    "dense_gmacs": macs[kind] / timing.median,
                    "profile_ms": profile(files[kind], runtime, threads, x, Path(folder)),
                }
            )
    return rows


def table(ceilings: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the ceilings, one line per engine, and where its time goes."""
    loop, gemm = ceilings["loop"], ceilings["gemm_gmacs"]
    lines = [f"memcpy {ceilings['memcpy_gbs']:.1f} GB/s; GMAC/s at most:"]
    for kind, how in (("fp32", "FMA"), ("int8", loop["int8_with"])):
        product = "-" if gemm[kind] is None else f"{gemm[kind]:.0f}"
        lines.append(f"  {kind}: {how} loop {loop[kind + '_gmacs']:.0f}, GEMM {product}")
    lines.append(f"\n{'engine':20}{'median s':>10}{'floor s':>9}{'x floor':>9}{'GMAC/s':>9}")
    for row in rows:
        lines.append(
            f"{row['precision'] + ', ' + row['runtime']:20}{row['seconds']['median']:10.3f}"
            f"{row['dense_floor_seconds']:9.3f}{row['of_floor']:9.2f}{row['dense_gmacs']:9.0f}"
            + ("  below the dense floor: Winograd" if row["of_floor"] < 1 else "")
        )
        parts = list(row["profile_ms"].items())[:SHOWN]
        lines.append("    ms: " + (", ".join(f"{k} {v:.0f}" for k, v in parts) or "not told"))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--onnx", metavar="FILE", help="default: full SegNet, random weights")
    parser.add_argument("--int8", metavar="FILE", help="an int8 file of segnet-export")
    parser.add_argument("--imgsz", nargs=2, type=int, default=(360, 480))
    parser.add_argument("--threads", type=int, default=describe_machine()["cpus"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(arguments.onnx or Path(folder) / "segnet.onnx")
        if not arguments.onnx:
            write_segnet(path, arguments.imgsz)
        files = {"fp32": path} | ({"int8": Path(arguments.int8)} if arguments.int8 else {})
        ceilings = measure_ceilings(arguments.threads)
        rows = measure(files, ceilings, arguments.threads, arguments.rounds)
    print(table(ceilings, rows))
    if arguments.json:
        result = {
            "benchmark": "limits",
            "what": "seconds of inference against the dense floor, interleaved rounds",
            "threads": arguments.threads,
            "machine": describe_machine(),
            "versions": versions(),
            "ceilings": ceilings,
            "engines": rows,
        }
        Path(arguments.json).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(arguments.json, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
