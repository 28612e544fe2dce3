"""What arithmetic this CPU has instructions for, and which files follow from it.

Sources: flags of /proc/cpuinfo on Linux (x86: arch/x86/include/asm/cpufeatures.h; ARM:
Documentation/arch/arm64/elf_hwcaps.rst).
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Collection
from pathlib import Path

# The name of each feature, and the flags that mean it (any of them).
FEATURES = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "BF16": ("avx512_bf16", "bf16"),
    "FP16": ("avx512_fp16", "asimdhp"),
    "AMX-INT8": ("amx_int8",),
    "AMX-BF16": ("amx_bf16",),
    "AMX-FP16": ("amx_fp16",),
    "NEON": ("asimd", "neon"),
    "dot product": ("asimddp",),
    "i8mm": ("i8mm",),
    "SVE": ("sve",),
}


def cpu_flags(path: str | Path = "/proc/cpuinfo") -> set[str]:
    """Return the flags of the first CPU; empty where the system has no such file."""
    try:
        lines = Path(path).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def cpu_features(flags: Collection[str] | None = None) -> list[str]:
    """Return the names in FEATURES that `flags` (None: this CPU's) mean."""
    known = cpu_flags() if flags is None else flags
    return [name for name, any_of in FEATURES.items() if any(flag in known for flag in any_of)]


def arm_computes_fp16() -> bool:
    """Return whether this is an ARM CPU with fp16 arithmetic: optional from Armv8.2 on."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"  # every Apple CPU has it
    return "asimdhp" in cpu_flags()


def advise(features: Collection[str]) -> str:
    """Return which precisions are computed faster than fp32 by a CPU with `features`.

    ARM: fp16 is computed in ONNX Runtime too; bf16 is left out, since OpenVINO (2026.4) would
    compute in fp16, so that bf16 files are computed in fp32.
    """
    int8 = any(name in features for name in ("VNNI", "AMX-INT8", "dot product", "i8mm"))
    arm = "NEON" in features
    bf16 = any(name in features for name in ("BF16", "AMX-BF16")) and not arm
    fp16 = any(name in features for name in ("FP16", "AMX-FP16"))
    fast = [name for name, has in (("int8", int8), ("bf16", bf16), ("fp16", fp16)) if has]
    if not fast:
        return "no instructions for reduced precision: int8 still saves memory and some time"
    halves = ", ".join(name for name in fast if name != "int8")
    where = f" ({halves}: in openvino{' and onnxruntime' if arm else ''})" if halves else ""
    return f"files in {', '.join(fast)} are computed in that precision{where}"
