"""Machine code (SASS) of the CUDA kernels, without a GPU: registers, spills, access widths.

Needs nvcc; cuobjdump and nvdisasm on PATH, or the wheels nvidia-cuda-cuobjdump and
nvidia-cuda-nvdisasm.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

THREADS = 128  # per block: kThreads in plugins/cuda/dispatch.h
_ALLOCATED_REGISTERS = 256  # allocation unit of a warp
_REGISTERS = 65536  # of a multiprocessor
# Threads of a multiprocessor. Source: CUDA C++ Programming Guide, compute capabilities.
MULTIPROCESSORS = {
    75: 1024,
    80: 2048,
    86: 1536,
    87: 1536,
    89: 1536,
    90: 2048,
    100: 2048,
    120: 1536,
}
TYPES = {"f": "fp32", "a": "int8", "4Half": "fp16", "8BFloat16": "bf16"}
_NAME = r"\S*?thread_kernelINS_\d+(Pool|Unpool)(\w+?)I(?:NS_)?(\w+?)(?:E)?Li(\d+)E"
_FUNCTION = re.compile("Function : " + _NAME)
_RESOURCES = re.compile("Function " + _NAME + r"\S*:")
_ACCESS = re.compile(r"\b(LDG|STG|LDL|STL)\.([\w.]*)")


def tools() -> dict[str, str] | None:
    """Return environment variables with cuobjdump on PATH; None if nvcc or cuobjdump is missing."""
    path = os.environ.get("PATH", "")
    spec = importlib.util.find_spec("nvidia")
    for folder in list(spec.submodule_search_locations or []) if spec else []:
        for found in Path(folder).glob("*/bin/cuobjdump"):
            path = f"{found.parent}{os.pathsep}{path}"
    usable = shutil.which("nvcc") and shutil.which("cuobjdump", path=path)
    return {**os.environ, "PATH": path} if usable else None


def kernels(source: Path, include: Path, architecture: int, folder: Path) -> list[dict[str, Any]]:
    """Compile `source` for sm_`architecture`; return registers and accesses of each kernel."""
    environment = tools()
    binary = folder / f"sm_{architecture}.o"
    command = ["nvcc", "-std=c++17", f"-arch=sm_{architecture}", f"-I{include}", "-c"]
    subprocess.run([*command, str(source), "-o", str(binary)], check=True)
    registers: dict[tuple[str, ...], int] = {}
    name: tuple[str, ...] = ()
    for line in _output(environment, "-res-usage", binary):
        if match := _RESOURCES.search(line):
            name = match.groups()
        if match := re.search(r"REG:(\d+)", line):
            registers[name] = int(match[1])
    accesses: dict[tuple[str, ...], Counter[str]] = {}
    for line in _output(environment, "-sass", binary):
        if match := _FUNCTION.search(line):
            accesses[name := match.groups()] = Counter()
        elif match := _ACCESS.search(line):
            accesses[name][f"{match[1]}.{_bits(match[2])}"] += 1
    return [
        {
            "op": op.lower(),
            "path": path.lower(),
            "type": TYPES[kind],
            "width": int(width),
            "registers": registers[op, path, kind, width],
            "accesses": dict(sorted(found.items())),
            "local_accesses": sum(n for key, n in found.items() if key[2] == "L"),
        }
        for (op, path, kind, width), found in accesses.items()
    ]


def occupancy(architecture: int, registers: int) -> float:
    """Return the theoretical occupancy: resident threads per maximum threads, 0 to 1."""
    maximum = MULTIPROCESSORS[architecture]
    warp = -(-registers * 32 // _ALLOCATED_REGISTERS) * _ALLOCATED_REGISTERS
    by_registers = _REGISTERS // (warp * THREADS // 32)
    return min(maximum // THREADS, by_registers) * THREADS / maximum


def _bits(suffix: str) -> int:
    sizes = [part for part in suffix.split(".") if part in ("128", "64", "U8", "S8", "U16", "S16")]
    return int(sizes[0].lstrip("US")) if sizes else 32


def _output(environment: dict[str, str] | None, flag: str, binary: Path) -> list[str]:
    done = subprocess.run(
        ["cuobjdump", flag, str(binary)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()
