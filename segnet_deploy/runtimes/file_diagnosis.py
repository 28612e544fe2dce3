"""What a model file contains, and which runtimes of this machine open it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from segnet_deploy.errors import InputError, SegNetError
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes import loader
from segnet_deploy.runtimes.base import Engine, is_engine_file
from segnet_deploy.runtimes.diagnosis import Check

_SHOWN = 12  # names of classes


def examine_file(path: str | os.PathLike[str]) -> list[Check]:
    """Return what an ONNX file or an engine contains, and a finding for each runtime.

    A runtime that does not open it is `broken`, with the reason. Raises InputError if there is no
    such file, and MissingDependencyError without any runtime.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no such file: {file}; expected an ONNX file or an engine")
    loader.check_installed()
    names = ["tensorrt"] if is_engine_file(file) else loader.installed()
    opened: list[Check] = []
    facts: list[Check] = []
    for name in names:
        started = time.perf_counter()
        try:
            with loader.open(file, "auto" if is_engine_file(file) else name) as engine:
                seconds = time.perf_counter() - started
                opened.append(Check(name, "ok", f"opens it in {seconds:.2f} s"))
                facts = facts or _describe(engine)
        except SegNetError as error:
            opened.append(Check(name, "broken", f"does not open it: {error}"))
    size = Check("file", "ok", f"{file}, {file.stat().st_size / 1e6:.1f} MB")
    return [size, *facts, *opened]


def _describe(engine: Engine) -> list[Check]:
    """Return inputs, outputs and metadata of an open file."""
    metadata = engine.metadata
    named = [("input", port) for port in engine.inputs]
    named += [("output", port) for port in engine.outputs]
    ports = [Check(kind, "ok", f"{port.name}: {port.describe()}") for kind, port in named]
    kind = f"{metadata.form} form, {metadata.precision}, {metadata.io} io"
    if metadata.samples:
        kind += f", {metadata.samples} samples of its dropout"
    return [
        *ports,
        Check("network", "ok", f"{metadata.network}: {kind}" if metadata.network else kind),
        _classes(metadata),
        _normalisation(metadata),
    ]


def _classes(metadata: Metadata) -> Check:
    names = metadata.classes
    if not names:
        return Check("classes", "missing", "no names", "segnet-export FILE -o OUT --classes NAMES")
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return Check("classes", "ok", f"{len(names)}: {', '.join(names[:_SHOWN])}{more}")


def _normalisation(metadata: Metadata) -> Check:
    mean, std = list(metadata.mean), list(metadata.std)
    values = f"{metadata.channel_order.upper()}, mean {mean}, std {std}"
    if metadata.mean == (0.0, 0.0, 0.0) and metadata.std == (1.0, 1.0, 1.0):
        advice = "if it was trained otherwise: segnet-export FILE -o OUT --mean ... --std ..."
        return Check("input values", "ok", f"{values}: raw 0-255", advice)
    return Check("input values", "ok", values)
