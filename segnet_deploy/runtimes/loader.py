"""The one way to open a model: an ONNX file or a built engine, in the runtime that fits."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segnet_deploy.errors import (
    EngineError,
    InputError,
    MissingDependencyError,
    UnsupportedModelError,
)
from segnet_deploy.metadata import Metadata
from segnet_deploy.optional import available, require
from segnet_deploy.pretrained import find_file
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.base import (
    CHOICES,
    ONNX_RUNTIMES,
    RUNTIMES,
    Engine,
    StaleEngineError,
    is_engine_file,
    is_server,
)
from segnet_deploy.runtimes.tuned_choice import TunedChoice, read_choice
from segnet_deploy.system.cpus import quota_threads

if TYPE_CHECKING:
    from segnet_deploy.runtimes.model_file import ModelFile

Rebuild = Callable[[Path], None]
"""Builds an engine file again in place, such as segnet_deploy.tensorrt_build.rebuild."""


def open(
    path: str | os.PathLike[str],
    runtime: str = "auto",
    threads: int | None = None,
    rebuild: Rebuild | None = None,
    progress: Progress = silent,
) -> Engine:
    """Open an ONNX file, an engine of segnet-build, a pretrained network, or a model on a server.

    `runtime`, for ONNX files, is auto, ncnn, openvino or onnxruntime; auto takes the fastest that
    is installed and accepts the file, measured once per file and machine. `threads` None leaves
    the number of CPU threads to the runtime, within the container's CPU quota. `rebuild` is
    called for an engine that was built for another version or GPU and has its ONNX file next to
    it; None raises instead. What auto measured is reported to `progress`.

    Raises InputError (unknown runtime, unreadable file), MissingDependencyError,
    UnsupportedModelError (a graph that cannot be lowered) or EngineError (the runtime rejects it).
    """
    if runtime not in CHOICES:
        raise InputError(f"unknown runtime {runtime!r}; expected {', '.join(CHOICES)}")
    if threads is not None and threads < 1:
        raise InputError(f"threads {threads}; expected 1 or more")
    if is_server(path):
        from segnet_deploy.runtimes.server import open_server

        return open_server(str(path))
    path = find_file(path)
    if is_engine_file(path):
        engine = _open_built(Path(path), rebuild)
    else:
        from segnet_deploy.runtimes.model_file import ModelFile

        file = ModelFile.read(path)
        metadata = Metadata.from_props(file.props)
        choice = read_choice(file.props, metadata.precision) if runtime == "auto" else None
        if choice is not None:
            threads = threads or choice.threads
        engine = _open_onnx(file, runtime, threads or quota_threads(), choice, progress)
        engine.metadata = metadata
    if engine.metadata.dropout:
        from segnet_deploy.runtimes.dropout_masks import attach_masks

        attach_masks(engine, engine.metadata)
    return engine


def installed() -> list[str]:
    """Return the runtimes for ONNX files on this machine, the usually fastest first."""
    names = [name for name in ONNX_RUNTIMES if available(RUNTIMES[name].library)]
    if "onnxruntime" in names:
        from segnet_deploy.runtimes.onnxruntime import has_cuda

        if has_cuda():
            names.sort(key=lambda name: name != "onnxruntime")
    return names


def check_installed(names: Sequence[str] = ()) -> None:
    """Raise MissingDependencyError if one of `names`, or every runtime, is missing."""
    for name in names:
        require(RUNTIMES[name].library)
    if not installed():
        raise MissingDependencyError(
            'no runtime is installed; install one with: pip install "segnet-deploy[openvino]"'
        )


def _open_built(path: Path, rebuild: Rebuild | None) -> Engine:
    module = importlib.import_module(RUNTIMES["tensorrt"].module)
    try:
        engine: Engine = module.open_file(path, None)
    except StaleEngineError as error:
        if rebuild is None or not error.can_rebuild:
            raise
        rebuild(path)
        engine = module.open_file(path, None)
    return engine


def _open_onnx(
    file: ModelFile,
    runtime: str,
    threads: int | None,
    choice: TunedChoice | None,
    progress: Progress,
) -> Engine:
    if runtime != "auto":
        return _open_in(runtime, file, threads)
    refusals = []
    for name in _candidates(file, threads, choice, progress):
        try:
            return _open_in(name, file, threads)
        except (EngineError, MissingDependencyError, UnsupportedModelError) as error:
            refusals.append(error)
    if len(refusals) == 1:
        raise refusals[0]
    raise EngineError("; ".join(map(str, refusals))) from refusals[0]


def _candidates(
    file: ModelFile, threads: int | None, choice: TunedChoice | None, progress: Progress
) -> list[str]:
    """Return the installed runtimes, first the one that segnet-tune chose or the fastest."""
    check_installed()
    names = installed()
    if choice is not None and choice.runtime in names:
        progress(f"auto: {choice.runtime}, as segnet-tune chose")
        return sorted(names, key=lambda name: name != choice.runtime)
    if not file.suits_winograd:  # then ncnn is the slowest: 7x7 convolutions, for example
        names.sort(key=lambda name: name == "ncnn")
    from segnet_deploy.runtimes.auto_select import by_speed

    return by_speed(file, threads, names, progress)


def _open_in(name: str, file: ModelFile, threads: int | None) -> Engine:
    engine: Engine = importlib.import_module(RUNTIMES[name].module).open_file(file, threads)
    return engine
