"""The child process of one part: prepares the path, runs the part, saves what it found.

    python benchmarks/gpu/child.py PART --save FILE --folder DIR --prebuilt DIR [--dry-run]

The exit status is 0 if the part ran to its end and met every goal that must be met.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATHS = (ROOT, ROOT / "export", ROOT / "benchmarks", ROOT / "benchmarks/kernels")


def prepare_path() -> None:
    """Let the project's packages be imported without an installation."""
    for folder in (*PATHS, ROOT / "tests/support"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def device_facts(dry: bool) -> dict[str, Any]:
    """Return the device, its driver and clocks, and the versions of the libraries."""
    import torch

    from harness.results import machine_facts
    from segnet_deploy.system import cuda_driver, nvml

    found: dict[str, Any] = {"name": "CPU (dry run)"}
    if not dry:
        of = torch.cuda.get_device_properties(0)
        found = {
            "name": of.name,
            "capability": [of.major, of.minor],
            "multiprocessors": of.multi_processor_count,
            "memory_bytes": of.total_memory,
            "l2_bytes": getattr(of, "L2_cache_size", None),
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    found |= {"cuda_driver": cuda_driver.driver_version(), "cuda_of_torch": torch.version.cuda}
    facts = machine_facts()
    facts["versions"] |= {"torch": torch.__version__, "python": platform.python_version()}
    return {"device": found | {"nvml": nvml.read()}, **facts}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run one part of the GPU check.")
    parser.add_argument("part")
    parser.add_argument("--save", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--prebuilt", type=Path, required=True)
    parser.add_argument("--extra", type=Path)
    parser.add_argument("--facts", action="store_true", help="save what the machine is")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    prepare_path()
    from gpu.place import Place
    from gpu.record import Record
    from segnet_deploy.system import nvml

    record = Record(given.save, judges_speed=not given.dry_run)
    try:
        if given.facts:
            record.fact("machine", device_facts(given.dry_run))
        place = Place(given.dry_run, given.folder, given.prebuilt, given.extra)
        importlib.import_module(f"gpu.{given.part}").run(place, record)
        record.fact("gpu_after", nvml.read())
    except Exception as error:
        traceback.print_exc()
        record.fact("error", f"{type(error).__name__}: {error}")
        return 1
    record.save()
    return 1 if record.broken else 0


if __name__ == "__main__":
    sys.exit(main())
