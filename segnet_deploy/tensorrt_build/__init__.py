"""Build TensorRT and TensorRT-RTX engines from ONNX files. Loading an engine never imports this.

builder        rewrite the file, run the child process, check the result, write the sidecar
build_process  the child process: parse and build
request        what it is asked, and its answer
profiles       optimisation profiles of dynamic shapes
log            what was built, read back from the builder's own log
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segnet_deploy.tensorrt_build.builder import BuildOptions, Built, build, rebuild

__all__ = ["BuildOptions", "Built", "build", "rebuild"]


def __getattr__(name: str) -> Any:
    """Import the builder when it is used, so that the child process stays light."""
    if name in __all__:
        from segnet_deploy.tensorrt_build import builder

        return getattr(builder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
