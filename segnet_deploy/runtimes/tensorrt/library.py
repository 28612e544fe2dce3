"""Load TensorRT or TensorRT-RTX, from whichever package provides it."""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segnet_deploy.errors import InputError, MissingDependencyError
from segnet_deploy.optional import available, require

KINDS = ("tensorrt", "tensorrt-rtx")
# The ONNX Runtime provider's wheel bundles the RTX libraries; the bindings' wheel has none.
_BUNDLE, _BINDINGS = "onnxruntime_ep_nv_tensorrt_rtx", "tensorrt_rtx_bindings"
_LOAD_ORDER = ("libcudart.so*", "libtensorrt_rtx.so*", "libtensorrt_onnxparser_rtx.so*")


@dataclass(frozen=True)
class Library:
    """A loaded builder: its Python module and which of KINDS it is."""

    trt: Any
    kind: str

    @property
    def version(self) -> str:
        return str(self.trt.__version__)


def choose(kind: str, cross: bool) -> str:
    """Return the kind; 'auto' is RTX if a target is named or TensorRT is missing.

    Raises InputError or MissingDependencyError.
    """
    if kind not in ("auto", *KINDS):
        raise InputError(f"builder {kind!r}; expected auto, {', '.join(KINDS)}")
    if kind == "auto":
        kind = "tensorrt" if available("tensorrt") and not cross else "tensorrt-rtx"
    if kind == "tensorrt" and cross:
        raise InputError(
            "TensorRT builds for the GPU that it runs on; --target needs --builder tensorrt-rtx"
        )
    if kind == "tensorrt" and not available("tensorrt"):
        require("tensorrt", extra="tensorrt")
    if kind == "tensorrt-rtx" and not (available("tensorrt_rtx") or available(_BINDINGS)):
        raise MissingDependencyError(
            'no TensorRT builder is installed: pip install "segnet-deploy[tensorrt]" '
            '(with an NVIDIA GPU) or "segnet-deploy[tensorrt-rtx]" (builds without one)'
        )
    return kind


def load(kind: str) -> Library:
    """Import the library. Raises MissingDependencyError."""
    if kind == "tensorrt":
        return Library(require("tensorrt", extra="tensorrt"), kind)
    if available("tensorrt_rtx"):
        return Library(require("tensorrt_rtx", extra="tensorrt-rtx"), kind)
    _load_bundle()
    return Library(require(_BINDINGS, extra="tensorrt-rtx"), kind)


def linked_names(folder: Path) -> bool:
    """Link the bundled libraries in `folder` by their unversioned names; return whether any exist.

    Before it imports a plugin node the RTX parser opens libtensorrt_rtx.so by that name, and
    ends the process if it is not found.
    """
    found = [path for folder_ in _bundle() for path in Path(folder_).glob("libtensorrt*.so.*")]
    for path in found:
        (folder / (path.name.partition(".so")[0] + ".so")).symlink_to(path)
    return bool(found)


def _bundle() -> list[str]:
    spec = importlib.util.find_spec(_BUNDLE)
    return list(spec.submodule_search_locations or []) if spec else []


def _load_bundle() -> None:
    """Load the bundled libraries with global symbols, which the bindings need."""
    for pattern in _LOAD_ORDER:
        for path in sorted(p for folder in _bundle() for p in Path(folder).glob(pattern)):
            try:
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            except OSError as error:
                raise MissingDependencyError(
                    f"{path.name} cannot be loaded ({error}); install again with: "
                    'pip install --force-reinstall "segnet-deploy[tensorrt-rtx]"'
                ) from error
