"""Convert an ONNX file to LiteRT through onnx2tf, and compare both.

onnx2tf needs Python 3.12 and exact versions of many packages, so litert_program.py runs it in an
interpreter of its own. That one does not have segnet-deploy: system/child_process.py does not
apply.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.accuracy.gate_inputs import GateInput, InputMaker
from segnet_deploy.conversion.compare_files import Outputs, check_outputs, copy_outputs
from segnet_deploy.conversion.lower_for_device import lower_for_device
from segnet_deploy.errors import EngineError, MissingDependencyError
from segnet_deploy.files import atomic_path
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_two_classes import has_one_channel
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.model_file import ModelFile, load_model
from segnet_deploy.runtimes.onnxruntime import open_witness
from segnet_deploy.types import Array, Frame

PROGRAM = Path(__file__).with_name("litert_program.py")
OLDEST_PYTHON = (3, 12)
INSTALL = (
    "install them apart from segnet-deploy: python3.12 -m venv .venv-litert && "
    '.venv-litert/bin/pip install "onnx2tf[tensorflow]==2.6.9", and add --litert-python '
    ".venv-litert/bin/python"
)
ADVICE = "try a size that is a multiple of 32, or another version of onnx2tf"


@dataclass(frozen=True)
class LitertResult:
    """The file at `path` and its comparison with the source on `inputs` inputs.

    `shape` is that of the image, (N, H, W, C) float32; `metadata` says how to normalise it.
    `agreement` is the share of equal labels, 0 to 1, `delta` the largest absolute difference of
    an output, `versions` those of the packages in the other interpreter.
    """

    path: Path
    shape: tuple[int, ...]
    metadata: Metadata
    inputs: int
    agreement: float
    delta: float
    versions: Mapping[str, str]


def to_litert(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    python: str | None = None,
    images: Sequence[Frame] = (),
    min_agreement: float | None = None,
    progress: Progress = silent,
    **options: Any,
) -> LitertResult:
    """Write `source`, an ONNX file, as a float32 LiteRT file, and compare both.

    LiteRT runs on this CPU, and the source in ONNX Runtime: natural images, noise and ties.
    `python` is an interpreter that has onnx2tf (default: this one); `options` are those of
    `lower_for_device`. Raises MissingDependencyError, ParityError, EngineError or what
    `lower_for_device` raises; then no file is written.
    """
    python = python or sys.executable
    versions = find_versions(python)
    kept: dict[str, Any] = {"images": images, "min_agreement": min_agreement, "progress": progress}
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
        lowered = Path(folder) / "lowered.onnx"
        lower_for_device(source, lowered, **kept, **options)
        progress(f"onnx2tf {versions['onnx2tf']}: converting {source}")
        failed = f"onnx2tf {versions['onnx2tf']} cannot convert {source}"
        _call(python, failed, "convert", lowered, temporary)
        one_channel = has_one_channel(load_model(Path(source)))
        metadata, inputs, expected = _run_source(lowered if one_channel else source, images)
        progress(f"LiteRT {versions['ai-edge-litert']}: comparing with {source}")
        found = _run_litert(python, temporary, inputs, expected)
        what = f"LiteRT agrees with {source}"
        agreement, delta = check_outputs(what, ADVICE, inputs, expected, found, min_agreement)
    batch, channels, *size = inputs[0].feed.shape
    shape = (batch, *size, channels)
    return LitertResult(Path(path), shape, metadata, len(inputs), agreement, delta, versions)


def find_versions(python: str) -> dict[str, str]:
    """Return the versions of the packages in an interpreter. Raises MissingDependencyError."""
    try:
        done = subprocess.run(
            [python, "-I", str(PROGRAM), "versions"], capture_output=True, text=True, check=False
        )
        found = json.loads(done.stdout)
    except (OSError, ValueError) as error:
        raise MissingDependencyError(
            f"{python} is not a Python interpreter ({error}); LiteRT needs onnx2tf: {INSTALL}"
        ) from error
    number = tuple(found.pop("python"))
    if number < OLDEST_PYTHON:
        raise MissingDependencyError(
            f"onnx2tf needs Python 3.12, {python} is {number[0]}.{number[1]}; {INSTALL}"
        )
    missing = [name for name, version in found.items() if version is None]
    if missing:
        raise MissingDependencyError(f"{python} does not have {', '.join(missing)}; {INSTALL}")
    return dict(found)


def _run_source(
    path: str | os.PathLike[str], images: Sequence[Frame]
) -> tuple[Metadata, list[GateInput], list[Outputs]]:
    """Return what the ONNX file records, the inputs of the gate, and its results."""
    with contextlib.closing(open_witness(ModelFile.read(path))) as engine:
        batch, channels, height, width = (size or 1 for size in engine.inputs[0].shape)
        metadata = engine.metadata
        maker = InputMaker.of(metadata, channels, images)
        inputs = maker.make([(batch, height, width)])
        return metadata, inputs, [copy_outputs(engine, item.feed) for item in inputs]


def _run_litert(
    python: str, path: Path, inputs: Sequence[GateInput], expected: Sequence[Outputs]
) -> list[Outputs]:
    """Return the results of the LiteRT file, in the layout of the ONNX file, (N, C, H, W)."""
    with tempfile.TemporaryDirectory() as folder:
        given, results = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        feeds = {str(i): item.feed.transpose(0, 2, 3, 1) for i, item in enumerate(inputs)}
        np.savez(given, **feeds)
        _call(python, f"LiteRT cannot run {path}", "run", path, given, results)
        with np.load(results) as archive:
            return [
                {
                    name: _planes_first(archive[f"{i}/{name}"], value)
                    for name, value in row.items()
                    if f"{i}/{name}" in archive
                }
                for i, row in enumerate(expected)
            ]


def _planes_first(found: Array, expected: Array) -> Array:
    """(N, H, W, C) -> (N, C, H, W); other ranks stay as they are."""
    return found.transpose(0, 3, 1, 2) if expected.ndim == found.ndim == 4 else found


def _call(python: str, failed: str, *words: object) -> None:
    """Run a task of litert_program.py. Raises EngineError: `failed`, and the last line of it."""
    command = [python, "-I", str(PROGRAM), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit status {done.returncode}"
        raise EngineError(f"{failed}: {reason}; no file was written")
