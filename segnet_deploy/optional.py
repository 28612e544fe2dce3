"""Import libraries where they are used, with an error that names the command to install them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from segnet_deploy.errors import MissingDependencyError

# Import name -> the extras of pyproject.toml that install it; () is a base dependency.
EXTRAS: dict[str, tuple[str, ...]] = {
    "PIL": ("camera", "eval", "quant"),
    "aiohttp": ("web",),
    "av": ("camera",),
    "cuda": ("tensorrt", "tensorrt-rtx"),
    "cv2": ("camera", "display", "eval", "quant", "web"),
    "ncnn": ("ncnn",),
    "numpy": (),
    "onnx": (),
    "onnx_ir": (),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "quant"),
    "openvino": ("openvino",),
    "pyarrow": ("batch", "ray"),
    "pynvml": ("tensorrt", "tensorrt-rtx"),
    "ray": ("ray",),
    "safetensors": ("export",),
    "scipy": ("eval",),
    "shtab": (),
    "simplejpeg": ("camera", "eval", "quant"),
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt-rtx",),
    "tensorrt_rtx_bindings": ("tensorrt-rtx",),
    "torch": ("export",),
    "tritonclient": ("triton",),
    "tqdm": (),
}
# Import name -> the packages of the distribution; pip does not install these.
_SYSTEM_PACKAGES = {"gi": "python3-gi gir1.2-gst-plugins-base-1.0"}


def require(name: str, extra: str | None = None) -> ModuleType:
    """Import the module `name`.

    `extra` is the extra of the command or feature that needs it, default the first one in EXTRAS.
    Raises MissingDependencyError with the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} cannot be imported ({error}); install it with: {install_command(name, extra)}"
        ) from error


def install_command(name: str, extra: str | None = None) -> str:
    """Return the command that installs the module `name`, through `extra` if given."""
    package = name.partition(".")[0]
    if package in _SYSTEM_PACKAGES:
        return f"apt-get install {_SYSTEM_PACKAGES[package]}"
    chosen = extra or next(iter(EXTRAS.get(package, ())), None)
    if chosen is None:
        return "pip install --force-reinstall segnet-deploy"
    return f'pip install "segnet-deploy[{chosen}]"'


def available(name: str) -> bool:
    """Return whether `name` can be imported, without importing it; a bare folder does not count."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None
