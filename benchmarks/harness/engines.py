"""Opening an ONNX file in a chosen runtime, with or without our operators for ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

from segnet_deploy import runtimes
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.base import Engine
from segnet_deploy.runtimes.model_file import ModelFile


def open_engine(path: Path, runtime: str, threads: int, operators: bool) -> Engine:
    """Open `path`; `operators` only matters for ONNX Runtime.

    Raises what segnet_deploy.runtimes.open raises; EngineError also if `operators` is True and
    our operators cannot be used.
    """
    if runtime != "onnxruntime":
        return runtimes.open(path, runtime, threads)
    from segnet_deploy.runtimes.onnxruntime import open_file

    file = ModelFile.read(path)
    engine = open_file(file, threads, operators)
    engine.metadata = Metadata.from_props(file.props)
    return engine
