"""Memory traffic and machine code of the CUDA kernels, without a GPU.

    python benchmarks/kernels/kernel_report.py [--json FILE]

The kernels' threads run on the host, warp by warp (plugins/tools/recorder.cpp). For every layout
and type: bytes moved in 32-byte sectors per byte needed (1.00 is optimal), and how often each byte
is read or written. For every architecture: registers, access widths and theoretical occupancy
(sass.py). No time is measured.
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
# Memory bandwidth in bytes per second, from the manufacturers' data sheets.
BANDWIDTHS = {
    "Jetson Orin Nano 8GB": 68e9,
    "Jetson AGX Orin": 204.8e9,
    "GeForce RTX 3060": 360e9,
    "GeForce RTX 4090": 1008e9,
    "H200": 4800e9,
}
PROCESSORS = 132  # of H100 and H200
# Sizes with partial sectors and code words.
AWKWARD = ((11, 45, 61), (17, 33, 30), (3, 64, 66), (33, 24, 26))


def compile_recorder(folder: Path, kernels: Path = KERNELS) -> ctypes.CDLL:
    """Build recorder.cpp with the kernels in the folder `kernels`; put the library in `folder`."""
    library = folder / "librecorder.so"
    command = ["c++", "-std=c++17", "-O2", "-fPIC", "-shared", f"-I{ROOT / 'plugins/include'}"]
    command += [f"-I{kernels}", str(ROOT / "plugins/tools/recorder.cpp")]
    subprocess.run([*command, "-o", str(library)], check=True)
    found = ctypes.CDLL(str(library))
    integers = [ctypes.c_int] * 3 + [ctypes.c_int64] * 4 + [ctypes.c_int] * 2
    found.segnet_record.argtypes = [*integers, ctypes.c_void_p]
    return found


def record(
    library: ctypes.CDLL,
    unpool: bool,
    kind: str,
    layout: str,
    shape: tuple[int, ...],
    processors: int = 0,
) -> dict[str, Any]:
    """Run one kernel on one (n, c, h, w) plane in ceil mode; return what it accessed.

    With `processors`, work is divided as on a device of that many; with 0 as little as possible.
    """
    result = np.zeros(10, np.int64)
    which = int(unpool), KINDS.index(kind), LAYOUTS.index(layout)
    library.segnet_record(*which, *shape, 1, processors, result.ctypes.data)
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
        "threads": counts[7],
        "processors": processors,
    }


def machine_code() -> list[dict[str, Any]]:
    """Return the machine code's figures per kernel and architecture; empty without the tools."""
    if sass.tools() is None:
        return []
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in sass.MULTIPROCESSORS:
            code = sass.kernels(
                KERNELS / "kernels.cu", ROOT / "plugins/include", architecture, Path(folder)
            )
            for kernel in code:
                occupancy = sass.occupancy(architecture, kernel["registers"])
                found.append({"sm": architecture, **kernel, "occupancy": round(occupancy, 3)})
    return found


def predicted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a lower bound: the time of SegNet's pools and unpoolings at full bandwidth."""
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
        if (chosen := select(rows, "segnet", layout, kind))
    ]


def select(rows: list[dict[str, Any]], group: str, layout: str, kind: str) -> list[dict[str, Any]]:
    """Return the rows of one group of planes, layout and type."""
    return [r for r in rows if (r["group"], r["layout"], r["type"]) == (group, layout, kind)]


def total_ratio(rows: list[dict[str, Any]]) -> float:
    """Return bytes moved per byte needed over all rows together."""
    moved, needed = (sum(r[f"{key}_bytes"] for r in rows) for key in ("sector", "needed"))
    return float(moved / needed)


def record_all(scale: int) -> list[dict[str, Any]]:
    """Record both kernels on all planes, SegNet's with sides divided by `scale`.

    SegNet's planes are recorded as they are, and with the work divided for PROCESSORS processors.
    """
    rows = []
    groups = {"segnet": (SEGNET, 0), "divided": (SEGNET, PROCESSORS), "awkward": (AWKWARD, 0)}
    with tempfile.TemporaryDirectory() as folder:
        library = compile_recorder(Path(folder))
        for group, (shapes, processors) in groups.items():
            divisor = 1 if group == "awkward" else scale
            for c, h, w in shapes:
                shape = (1, c, max(2, h // divisor), max(2, w // divisor))
                for layout in LAYOUTS:
                    for kind in KINDS:
                        for unpool in (False, True):
                            row = record(library, unpool, kind, layout, shape, processors)
                            rows.append({**row, "group": group})
    return rows


def print_ratios(rows: list[dict[str, Any]]) -> None:
    def line(group: str, layout: str, ratios: list[float]) -> None:
        print(f"{group:8}{layout:4}" + "".join(f"{ratio:8.3f}" for ratio in ratios))

    print(f"{'':12}" + "".join(f"{kind:>8}" for kind in KINDS))
    print("bytes moved per byte needed, all of SegNet's planes together:")
    for group in ("segnet", "divided"):
        for layout in LAYOUTS:
            line(group, layout, [total_ratio(select(rows, group, layout, k)) for k in KINDS])
    print("the largest ratio of one plane, both kernels:")
    for group in ("segnet", "awkward"):
        for layout in LAYOUTS:
            chosen = [select(rows, group, layout, kind) for kind in KINDS]
            line(group, layout, [max(r["ratio"] for r in part) for part in chosen])


def print_threads(rows: list[dict[str, Any]]) -> None:
    print(f"threads of a pool of SegNet's five planes, and divided for {PROCESSORS} processors")
    for layout in LAYOUTS:
        for kind in KINDS:
            chosen = [
                [r["threads"] for r in select(rows, group, layout, kind) if r["op"] == "pool"]
                for group in ("segnet", "divided")
            ]
            pairs = zip(*chosen, strict=True)
            print(f"{layout:6}{kind:5}" + "".join(f"{a:9} {b:7}" for a, b in pairs))


def print_machine_code(code: list[dict[str, Any]]) -> None:
    print("machine code:" if code else "no nvcc or cuobjdump: the machine code is not examined")
    for architecture in dict.fromkeys(kernel["sm"] for kernel in code):
        chosen = [kernel for kernel in code if kernel["sm"] == architecture]
        wide = sum(any(key.endswith(".128") for key in k["accesses"]) for k in chosen)
        print(
            f"sm_{architecture}: {len(chosen)} kernels, {wide} with 128-bit accesses, "
            f"{sum(k['local_accesses'] for k in chosen)} accesses to local memory, at most "
            f"{max(k['registers'] for k in chosen)} registers, at least "
            f"{min(k['occupancy'] for k in chosen):.0%} occupancy"
        )


def print_predictions(times: list[dict[str, Any]]) -> None:
    print("predicted, not measured: SegNet's pools and unpoolings at full bandwidth, NCHW, ms")
    for device in BANDWIDTHS:
        chosen = [t for t in times if (t["device"], t["layout"]) == (device, "NCHW")]
        print(f"{device:24}" + "".join(f"{t['type']:>6}{t['predicted_ms']:8.3f}" for t in chosen))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="report memory traffic and machine code of the CUDA kernels, without a GPU"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--small", action="store_true", help="divide SegNet's sides by 4")
    arguments = parser.parse_args()
    rows = record_all(4 if arguments.small else 1)
    code, times = machine_code(), predicted(rows)
    print_ratios(rows)
    print_threads(rows)
    print_machine_code(code)
    print_predictions(times)
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
