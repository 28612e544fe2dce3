"""What do the GPU's counters say of the largest kernels? (Nsight Compute, ncu)"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from typing import Any

from gpu.bandwidth import PLANES, SMALL_PLANES
from gpu.libraries import find_native
from gpu.place import Place
from gpu.record import Record
from segnet_deploy.errors import EngineError

_LOADS, _STORES = (
    f"l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_{op}.ratio" for op in ("ld", "st")
)
METRICS = {
    "seconds": "gpu__time_duration.sum",
    "dram_read_bytes": "dram__bytes_read.sum",
    "dram_write_bytes": "dram__bytes_write.sum",
    "load_sectors_per_request": _LOADS,
    "store_sectors_per_request": _STORES,
    "achieved_occupancy_percent": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "registers": "launch__registers_per_thread",
    "dram_percent": "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
}
SETTINGS = (("fp16", "NHWC"), ("fp16", "NCHW"), ("int8", "NCHW"))
BATCH, RUNS = 8, 2  # the first run warms up
_UNITS = {"nsecond": 1e-9, "ns": 1e-9}  # the base unit of time, by ncu's version


def run(place: Place, record: Record) -> None:
    """Profile pool and unpool at SegNet's largest plane. Raises EngineError without ncu."""
    driver, origin = find_native("host_driver" if place.dry else "driver", place)
    record.fact("driver", f"{driver.name}, {origin}")
    shape = (BATCH, *place.sized(PLANES, SMALL_PLANES)[0])
    program = shutil.which("ncu") or "/usr/local/cuda/bin/ncu"
    if shutil.which(program) is None and not place.dry:
        raise EngineError("there is no ncu on PATH, so that no counter was read")
    for kind, layout in SETTINGS:
        command = [str(driver), "repeat", kind, layout, *map(str, shape), str(RUNS)]
        if not place.dry:
            options = ["--csv", "--print-units", "base", "--clock-control", "none"]
            command = [program, *options, "--metrics", ",".join(METRICS.values()), *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(" ".join(command), done.stdout, done.stderr, sep="\n", flush=True)
        if done.returncode:
            raise EngineError(f"{command[0]} ended with {done.returncode}: {done.stderr[-300:]}")
        kernels = [] if place.dry else read_csv(done.stdout)[-2:]  # of the last run
        for operation, values in zip(("pool", "unpool"), kernels, strict=False):
            record.row("counters", op=operation, type=kind, layout=layout, shape=shape, **values)
        if place.dry:
            record.row(
                "counters", type=kind, layout=layout, shape=shape, method=done.stdout.strip()
            )
        else:
            record.must(f"{kind} {layout}: two kernels were profiled", len(kernels) == 2)


def read_csv(text: str) -> list[dict[str, Any]]:
    """Return the metrics of each launch of ncu's CSV output, in order, in s and bytes."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    names = {metric: name for name, metric in METRICS.items()}
    launches: dict[str, dict[str, Any]] = {}
    for row in csv.DictReader(io.StringIO("\n".join(lines[start:]))):
        name = names.get(row.get("Metric Name") or "")
        if name is None:
            continue
        value = row["Metric Value"].replace(",", "")
        try:
            number = float(value) * _UNITS.get(row["Metric Unit"], 1.0)
        except ValueError:
            continue  # a metric that this GPU does not have
        launches.setdefault(row["ID"], {"kernel": row["Kernel Name"][:80]})[name] = number
    return list(launches.values())
