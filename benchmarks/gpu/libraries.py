"""The native libraries of the check: prebuilt ones if they fit these sources, or built here."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cuda_kernels

from gpu.place import ROOT, Place
from segnet_deploy.errors import EngineError

PLUGINS = ROOT / "plugins"
STAMP = "sources.sha256"
PLUGIN = "libsegnet_tensorrt.so"
USAGE = 2  # exit status of a program without arguments
_GPU, _HOST = ["nvcc", "-std=c++17", "-O3"], ["c++", "-std=c++17", "-O1"]
_SHARED_GPU, _SHARED_HOST = ["-shared", "-Xcompiler=-fPIC"], ["-shared", "-fPIC"]
_KERNELS = ["cuda/kernels.cu", "cuda/c_interface.cpp"]


@dataclass(frozen=True)
class Native:
    """A library or program: its file name, compiler options and sources in plugins/."""

    file: str
    options: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def for_gpu(self) -> bool:
        """Whether nvcc compiles it, for one architecture."""
        return self.options[0] == "nvcc"


NATIVE = {
    "kernels": Native("libsegnet_kernels.so", (*_GPU, *_SHARED_GPU), (*_KERNELS,)),
    "onnxruntime": Native(
        "libsegnet_onnxruntime.so",
        (*_GPU, *_SHARED_GPU, "-Xcompiler=-fvisibility=hidden,-fno-trapping-math"),
        (
            "cuda/kernels.cu",
            *(f"onnxruntime/{name}.cpp" for name in ("operators", "cpu", "cuda")),
            "cpu/two_bit_codes.cpp",
        ),
    ),
    "driver": Native("drive_kernels", (*_GPU, "-lineinfo"), (*_KERNELS, "tools/drive_kernels.cpp")),
    "paths": Native("libsegnet_paths.so", (*_HOST, *_SHARED_HOST), ("tools/kernel_paths.cpp",)),
    "host_loop": Native(
        "libsegnet_host_loop.so", (*_HOST, *_SHARED_HOST), ("tools/host_loop.cpp",)
    ),
    "host_driver": Native(
        "drive_kernels_on_host",
        (*_HOST, "-DSEGNET_ON_HOST"),
        ("tools/drive_kernels.cpp", "tools/host_loop.cpp"),
    ),
}


def source_hash() -> str:
    """Return the SHA-256 of everything that the libraries are compiled from."""
    digest = hashlib.sha256()
    for path in sorted(PLUGINS.rglob("*")):
        if path.suffix in (".cu", ".cpp", ".h"):
            digest.update(path.relative_to(PLUGINS).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def compile_native(name: str, folder: Path, architecture: str = "native") -> Path:
    """Compile one of NATIVE into `folder`. Raises EngineError with the compiler's first error."""
    native, target = NATIVE[name], folder / NATIVE[name].file
    command = [*native.options, f"-I{PLUGINS / 'include'}", f"-I{PLUGINS / 'cuda'}"]
    command += [f"-arch={architecture}"] if native.for_gpu else []
    return _compile([*command, *(str(PLUGINS / source) for source in native.sources)], target)


def _compile(command: list[str], target: Path) -> Path:
    command = [*command, "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise EngineError(
            f"{target.name} cannot be built: {command[0]}: {error.strerror}"
        ) from None
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise EngineError(f"{target.name} cannot be built: {reason}")
    return target


def compile_plugin(folder: Path, headers: Path, architecture: str) -> Path:
    """Compile the TensorRT plugin into `folder`; see compile_native."""
    target = folder / PLUGIN
    command = [*_GPU, *_SHARED_GPU, "-Xcompiler=-fvisibility=hidden", f"-arch={architecture}"]
    command += [f"-I{path}" for path in (PLUGINS / "include", PLUGINS / "cuda", headers)]
    sources = ("cuda/kernels.cu", "tensorrt/plugin.cpp", "tensorrt/creators.cpp")
    return _compile([*command, *(str(PLUGINS / source) for source in sources)], target)


def fits(prebuilt: Path) -> bool:
    """Return whether a folder of gpu/prepare.py was built from these sources."""
    stamp = prebuilt / STAMP
    return stamp.is_file() and stamp.read_text().strip() == source_hash()


def find_native(name: str, place: Place) -> tuple[Path, str]:
    """Return the file of one of NATIVE, and `prebuilt` or `built here`. Raises EngineError.

    A prebuilt file is used only if it was built from these sources and can be loaded. What is
    built here is kept in the folder of the check for the parts that follow.
    """
    native = NATIVE[name]
    if (place.prebuilt / native.file).is_file() and fits(place.prebuilt):
        file = _runnable(place.prebuilt / native.file, place.folder)
        if _works(file):
            return file, "prebuilt"
    if not (place.folder / native.file).is_file():
        compile_native(name, place.folder)
    return place.folder / native.file, "built here"


def _runnable(path: Path, folder: Path) -> Path:
    """Return `path`, or a copy if it is a program whose permissions were lost in a transfer."""
    if path.suffix == ".so" or path.stat().st_mode & 0o100:
        return path
    copy = folder / path.name
    shutil.copyfile(path, copy)
    copy.chmod(0o755)
    return copy


def _works(path: Path) -> bool:
    """Return whether a library can be loaded, or a program started, on this machine."""
    try:
        if path.suffix == ".so":
            ctypes.CDLL(str(path))
            return True
        return subprocess.run([path], capture_output=True, check=False).returncode == USAGE
    except OSError:
        return False


class HostPair(cuda_kernels.Pair):
    """The kernels' code run on the host, for a dry run: the addresses are those of host memory."""

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """Run both: x -> y and codes -> back."""
        at = addresses
        self._host_pair(at["x"], at["y"], at["codes"], at["back"])

    def pool(self, x: int, y: int, codes: int, stream: int) -> None:
        """Pool on host addresses. Raises EngineError."""
        n, c, h, w = self.shape
        unused = ctypes.create_string_buffer(max(1, 4 * n * (c + 7) * h * w))
        self._host_pair(x, y, codes, ctypes.addressof(unused))

    def unpool(self, y: int, codes: int, back: int, stream: int) -> None:
        """Unpool on host addresses."""
        places = (ctypes.c_void_p(at) for at in (y, codes, back))
        self.library.segnet_host_unpool(*self._kind, *places, *self._sizes, 0)

    def _host_pair(self, *addresses: int) -> None:
        places = (ctypes.c_void_p(at) for at in addresses)
        if self.library.segnet_host_pair(*self._kind, *places, *self._sizes, 0) != 0:
            raise EngineError(f"the host loop rejects {self.shape}")

    @property
    def _kind(self) -> tuple[int, int]:
        return cuda_kernels.KINDS.index(self.kind), cuda_kernels.LAYOUTS.index(self.layout)

    @property
    def _sizes(self) -> tuple[object, ...]:
        return (*map(ctypes.c_int64, self.shape), int(self.ceil_mode))


@dataclass(frozen=True)
class Kernels:
    """The kernels as a library, and where it comes from."""

    library: ctypes.CDLL
    origin: str
    on_host: bool

    def pair(
        self, kind: str, layout: str, shape: tuple[int, int, int, int], ceil_mode: bool = True
    ) -> cuda_kernels.Pair:
        """Return pool and unpool of (n, c, h, w) planes; see cuda_kernels.Pair."""
        made = HostPair if self.on_host else cuda_kernels.Pair
        return made(self.library, kind, layout, shape, ceil_mode)


def open_kernels(place: Place) -> Kernels:
    """Load the kernels: for the GPU, or the host loop in a dry run."""
    path, origin = find_native("host_loop" if place.dry else "kernels", place)
    library = ctypes.CDLL(str(path)) if place.dry else cuda_kernels.open_library(path)
    return Kernels(library, f"{path.name}, {origin}", place.dry)
