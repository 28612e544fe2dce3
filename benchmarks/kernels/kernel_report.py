"""What the kernels move, without a GPU: their threads run on the host, warp by warp.

    python benchmarks/kernels/kernel_report.py [--json FILE]

For every layout and type: 32-byte sectors that a warp's accesses touch against the bytes
needed (1.00 is the least), how often each byte is read or written, and registers and spills
as nvcc reports them. Nothing here is a measured time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import sass
from cuda_kernels import KINDS, LAYOUTS

from segnet_deploy.files import atomic_write

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "plugins/cuda"
SEGNET = ((64, 360, 480), (128, 180, 240), (256, 90, 120), (512, 45, 60), (512, 23, 30))
# Bytes a second, by the makers' data sheets.
BANDWIDTHS = {
    "Jetson Orin Nano 8GB": 68e9,
    "Jetson AGX Orin": 204.8e9,
    "GeForce RTX 3060": 360e9,
    "GeForce RTX 4090": 1008e9,
    "H200": 4800e9,
}
AWKWARD = ((11, 45, 61), (17, 33, 30), (3, 64, 66), (33, 24, 26))


def compile_recorder(folder: Path, kernels: Path = KERNELS) -> ctypes.CDLL:
    """Build recorder.cpp on the kernels of the folder `kernels` into `folder`."""
    library = folder / "librecorder.so"
    command = ["c++", "-std=c++17", "-O2", "-fPIC", "-shared", f"-I{ROOT / 'plugins/include'}"]
    command += [f"-I{kernels}", str(ROOT / "plugins/tools/recorder.cpp")]
    subprocess.run([*command, "-o", str(library)], check=True)
    found = ctypes.CDLL(str(library))
    integers = [ctypes.c_int] * 3 + [ctypes.c_int64] * 4 + [ctypes.c_int]
    found.segnet_record.argtypes = [*integers, ctypes.c_void_p]
    return found


def record(
    library: ctypes.CDLL, unpool: bool, kind: str, layout: str, shape: tuple[int, ...]
) -> dict[str, Any]:
    """Run one kernel over one (n, c, h, w) plane in ceil mode."""
    result = np.zeros(10, np.int64)
    library.segnet_record(
        int(unpool), KINDS.index(kind), LAYOUTS.index(layout), *shape, 1, result.ctypes.data
    )
    moved, needed, *counts = result.tolist()
    return {
        "op": "unpool" if unpool else "pool",
        "type": kind,
        "layout": layout,
        "shape": list(shape),
        "sector_bytes": moved,
        "needed_bytes": needed,
        "ratio": round(moved / needed, 4),
        "full_accesses": counts[0:2],
        "pooled_accesses": counts[2:4],
        "code_accesses": counts[4:6],
        "unaligned": counts[6],
        "block_bytes": counts[7],
    }


def machine_code(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what each kernel's code does, for each architecture; nothing without the tools."""
    if sass.tools() is None:
        return []
    most_bytes = max(row["block_bytes"] for row in rows)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in sass.MULTIPROCESSORS:
            code = sass.kernels(
                KERNELS / "kernels.cu", ROOT / "plugins/include", architecture, Path(folder)
            )
            for kernel in code:
                shared = {"runs": 0, "pixels": 1024, "tiles": most_bytes}[kernel["path"]]
                part = sass.occupancy(architecture, kernel["registers"], shared)
                found.append({"sm": architecture, **kernel, "occupancy": round(part, 3)})
    return found


def predicted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the time that SegNet's pools and unpoolings need at full bandwidth: a lower bound."""
    return [
        {
            "device": device,
            "layout": layout,
            "type": kind,
            "predicted_ms": round(sum(r["sector_bytes"] for r in chosen) / bandwidth * 1e3, 4),
        }
        for device, bandwidth in BANDWIDTHS.items()
        for layout in LAYOUTS
        for kind in KINDS
        if (
            chosen := [
                r for r in rows if (r["group"], r["layout"], r["type"]) == ("segnet", layout, kind)
            ]
        )
    ]


def total(rows: list[dict[str, Any]], layout: str, kind: str) -> float:
    """Return the ratio over all of SegNet's pools and unpoolings."""
    chosen = [r for r in rows if (r["group"], r["layout"], r["type"]) == ("segnet", layout, kind)]
    ratio: float = sum(r["sector_bytes"] for r in chosen) / sum(r["needed_bytes"] for r in chosen)
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description="what the kernels move, without a GPU")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--small", action="store_true", help="quarter sizes, for a quick look")
    arguments = parser.parse_args()
    scale = 4 if arguments.small else 1
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        library = compile_recorder(Path(folder))
        for group, shapes in (("segnet", SEGNET), ("awkward", AWKWARD)):
            for c, h, w in shapes:
                part = scale if group == "segnet" else 1
                for layout in LAYOUTS:
                    for kind in KINDS:
                        for unpool in (False, True):
                            shape = (1, c, max(2, h // part), max(2, w // part))
                            rows.append(record(library, unpool, kind, layout, shape))
                            rows[-1]["group"] = group
    print("all of SegNet's planes together, bytes moved per byte needed:")
    for layout in LAYOUTS:
        totals = [total(rows, layout, kind) for kind in KINDS]
        print(f"{'segnet':8}{layout:4}" + "".join(f"{ratio:8.3f}" for ratio in totals))
    print(f"{'':12}" + "".join(f"{kind:>8}" for kind in KINDS) + "   (largest ratio, both kernels)")
    for group in ("segnet", "awkward"):
        for layout in LAYOUTS:
            worst = [
                max(
                    r["ratio"]
                    for r in rows
                    if (r["group"], r["layout"], r["type"]) == (group, layout, kind)
                )
                for kind in KINDS
            ]
            print(f"{group:8}{layout:4}" + "".join(f"{ratio:8.3f}" for ratio in worst))
    code = machine_code(rows)
    print("machine code by architecture:" if code else "no nvcc or cuobjdump: no machine code read")
    for architecture in dict.fromkeys(kernel["sm"] for kernel in code):
        chosen = [kernel for kernel in code if kernel["sm"] == architecture]
        wide = sum(any(key.endswith(".128") for key in k["accesses"]) for k in chosen)
        print(
            f"sm_{architecture}: {len(chosen)} kernels, {wide} with 128-bit accesses, "
            f"{sum(k['local_accesses'] for k in chosen)} accesses to local memory, registers at "
            f"most {max(k['registers'] for k in chosen)}, occupancy at least "
            f"{min(k['occupancy'] for k in chosen):.0%}"
        )
    times = predicted(rows)
    print("predicted, not measured: all pools and unpoolings of SegNet at full bandwidth, NCHW, ms")
    for device in BANDWIDTHS:
        chosen = [t for t in times if (t["device"], t["layout"]) == (device, "NCHW")]
        print(f"{device:24}" + "".join(f"{t['type']:>6}{t['predicted_ms']:8.3f}" for t in chosen))
    if arguments.json:
        Path(arguments.json).parent.mkdir(parents=True, exist_ok=True)
        report = {
            "benchmark": "kernel_report",
            "counted_on": "host, no GPU",
            "machine_code": code,
            "predicted_times": times,
            "rows": rows,
        }
        atomic_write(arguments.json, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
