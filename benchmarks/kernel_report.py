"""What the kernels move, without a GPU: their threads run on the host, warp by warp.

    python benchmarks/kernel_report.py [--json FILE]

For every layout and type: 32-byte sectors that a warp's accesses touch against the bytes
needed (1.00 is the least), how often each byte is read or written, and registers and spills
as nvcc reports them. Nothing here is a measured time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.files import atomic_write

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "plugins/kernels"
KINDS = ("fp32", "fp16", "bf16", "int8")
LAYOUTS = ("NCHW", "NHWC", "HWC8")
SEGNET = ((64, 360, 480), (128, 180, 240), (256, 90, 120), (512, 45, 60), (512, 23, 30))
AWKWARD = ((11, 45, 61), (17, 33, 30), (3, 64, 66), (33, 24, 26))


def compile_recorder(folder: Path, kernels: Path = KERNELS) -> ctypes.CDLL:
    """Build recorder.cpp of the folder `kernels` into `folder`."""
    library = folder / "librecorder.so"
    command = ["c++", "-std=c++17", "-O2", "-fPIC", "-shared", f"-I{ROOT / 'plugins/include'}"]
    subprocess.run([*command, str(kernels / "recorder.cpp"), "-o", str(library)], check=True)
    found = ctypes.CDLL(str(library))
    integers = [ctypes.c_int] * 3 + [ctypes.c_int64] * 4 + [ctypes.c_int]
    found.segnet_record.argtypes = [*integers, ctypes.c_void_p]
    return found


def record(
    library: ctypes.CDLL, unpool: bool, kind: str, layout: str, shape: tuple[int, ...]
) -> dict[str, Any]:
    """Run one kernel over one (n, c, h, w) plane in ceil mode."""
    result = np.zeros(8, np.int64)
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
    }


def registers(architecture: str) -> dict[str, Any] | None:
    """Return the largest register count and the spilled bytes, as ptxas reports them."""
    if shutil.which("nvcc") is None:
        return None
    command = ["nvcc", "-std=c++17", f"-arch={architecture}", "-Xptxas", "-v", "-c", "-o"]
    source = str(KERNELS / "kernels.cu")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, f"{folder}/k.o", f"-I{ROOT / 'plugins/include'}", source],
            capture_output=True,
            text=True,
            check=True,
        )
    used = [int(n) for n in re.findall(r"Used (\d+) registers", done.stderr)]
    spilled = [int(n) for n in re.findall(r"(\d+) bytes spill (?:stores|loads)", done.stderr)]
    return {"kernels": len(used), "most_registers": max(used), "spilled_bytes": sum(spilled)}


def total(rows: list[dict[str, Any]], layout: str, kind: str) -> float:
    """Return the ratio over all of SegNet's pools and unpoolings."""
    chosen = [r for r in rows if (r["group"], r["layout"], r["type"]) == ("segnet", layout, kind)]
    return sum(r["sector_bytes"] for r in chosen) / sum(r["needed_bytes"] for r in chosen)


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
    chips = {f"sm_{a}": registers(f"sm_{a}") for a in (75, 80, 86, 87, 89, 90, 120)}
    for name, facts in chips.items():
        print(f"{name}: {facts or 'no nvcc here'}")
    if arguments.json:
        Path(arguments.json).parent.mkdir(parents=True, exist_ok=True)
        report = {"benchmark": "kernel_report", "predicted": True, "chips": chips, "rows": rows}
        atomic_write(arguments.json, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
