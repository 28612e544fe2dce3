"""Python bindings of the CUDA kernels, compiled with nvcc, for GPU tests and benchmarks."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segnet_deploy.errors import EngineError

ROOT = Path(__file__).parents[2]
KINDS = ("fp32", "fp16", "bf16", "int8")
LAYOUTS = ("NCHW", "NHWC", "HWC8")


def build(folder: Path, architecture: str = "native") -> ctypes.CDLL:
    """Compile the kernels for `architecture` (native: this machine's GPU) and load them."""
    library = folder / "libsegnet_kernels.so"
    sources = [str(ROOT / "plugins/cuda" / name) for name in ("kernels.cu", "c_interface.cpp")]
    command = ["nvcc", "-std=c++17", "-O3", f"-arch={architecture}", "-shared", "-Xcompiler=-fPIC"]
    command += [f"-I{ROOT / 'plugins/include'}", *sources, "-o", str(library)]
    subprocess.run(command, check=True)
    return open_library(library)


def open_library(path: Path) -> ctypes.CDLL:
    """Load the compiled kernels."""
    found = ctypes.CDLL(str(path))
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    for function in (found.segnet_max_pool, found.segnet_max_unpool):
        function.argtypes = (
            [ctypes.c_int] * 2 + [pointer] * 3 + [size] * 4 + [ctypes.c_int, pointer]
        )
    return found


@dataclass(frozen=True)
class Pair:
    """Pool and unpool of (n, c, h, w) planes: an Executable, from `x` to `back`."""

    library: ctypes.CDLL
    kind: str
    layout: str
    shape: tuple[int, int, int, int]
    ceil_mode: bool = True

    def pool(self, x: int, y: int, codes: int, stream: int) -> None:
        """Pool on device addresses. Raises EngineError."""
        self._call("segnet_max_pool", x, y, codes, stream)

    def unpool(self, y: int, codes: int, back: int, stream: int) -> None:
        """Unpool on device addresses. Raises EngineError."""
        self._call("segnet_max_unpool", y, codes, back, stream)

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Enqueue both on `stream`: x -> y and codes -> back."""
        at = addresses
        self.pool(at["x"], at["y"], at["codes"], stream)
        self.unpool(at["y"], at["codes"], at["back"], stream)

    def _call(self, name: str, a: int, b: int, c: int, stream: int) -> None:
        indices = KINDS.index(self.kind), LAYOUTS.index(self.layout)
        function = getattr(self.library, name)
        status = function(*indices, a, b, c, *self.shape, int(self.ceil_mode), stream)
        if status != 0:
            raise EngineError(f"{name} of {self.shape} failed with CUDA error {status}")
