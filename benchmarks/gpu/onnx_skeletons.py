"""ONNX files without their large weights, which are drawn again from a seed where they are run.

A skeleton has some hundred kilobytes instead of a hundred megabytes. Time does not depend on the
weights' values; each weight keeps its type, shape and standard deviation.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from segnet_deploy.files import atomic_write, make_folder
from segnet_deploy.types import Array, Size

LARGE = 4096  # bytes of a weight that is left out
_MARK = "drawn, standard deviation "


def strip(model: Any) -> Any:
    """Take the large weights out of an onnx.ModelProto in place; return it."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.nbytes <= LARGE:
            continue
        tensor.doc_string = f"{_MARK}{float(values.astype(np.float32).std())!r}"
        for name in ("raw_data", "float_data", "int32_data", "int64_data"):
            tensor.ClearField(name)
        tensor.raw_data = b""
    return model


def fill(model: Any, seed: int = 0) -> Any:
    """Draw the weights that `strip` took out, in place; return the model."""
    rng = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        if not tensor.doc_string.startswith(_MARK):
            continue
        deviation = float(tensor.doc_string.removeprefix(_MARK))
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        tensor.raw_data = _draw(rng, tuple(tensor.dims), dtype, deviation).tobytes()
        tensor.doc_string = ""
    return model


def _draw(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], deviation: float
) -> Array:
    values = rng.standard_normal(shape, np.float32) * np.float32(deviation)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.round(values), limits.min, limits.max)
    found: Array = values.astype(dtype)
    return found


def read_skeleton(path: Path) -> bytes:
    """Return a skeleton's model with its weights, as the bytes of an ONNX file."""
    data: bytes = fill(onnx.load(path)).SerializeToString()
    return data


def write_skeletons(network: Any, folder: Path, size: Size, frames: int = 2) -> list[Path]:
    """Export `network`, a module in fp32 on the CPU, in every form of the check; return the files.

    own (torch's export as it is), plain, lowered, and operators (of our library for ONNX Runtime);
    fp32, fp16 and, calibrated with `frames` drawn scenes, int8. Raises SegNetError.
    """
    make_folder(folder)
    paths = []
    with tempfile.TemporaryDirectory() as name:
        for label, data in _export(network, Path(name), size, frames):
            path = folder / f"{label}.onnx"
            atomic_write(path, strip(onnx.load_from_string(data)).SerializeToString())
            paths.append(path)
    return paths


def _export(network: Any, folder: Path, size: Size, frames: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file."""
    import torch

    from harness.networks import write_onnx
    from segnet_deploy.passes.to_precision import to_precision
    from segnet_deploy.quant.quantise import quantise
    from segnet_deploy.runtimes.model_file import ModelFile, load_model, save_model

    own, plain, half, int8 = (folder / f"{name}.onnx" for name in ("own", "fp32", "fp16", "int8"))
    with contextlib.redirect_stdout(sys.stderr):
        example = (torch.zeros(1, 3, *size),)
        torch.onnx.export(network, example, own, dynamo=True, verbose=False, external_data=False)
    yield "own-fp32", own.read_bytes()
    write_onnx(network, plain, size)
    save_model(to_precision(load_model(plain), "fp16").model, half)
    _draw_scenes(folder / "frames", size, frames)
    quantise(plain, int8, folder / "frames", frames=frames, min_agreement=0.0)
    for path in (plain, half, int8):
        file = ModelFile.read(path)
        yield f"operators-{path.stem}", file.with_onnxruntime_ops()
        yield f"lowered-{path.stem}", file.lowered()
    yield "plain-fp32", plain.read_bytes()


def _draw_scenes(folder: Path, size: Size, count: int) -> None:
    import cv2

    from segnet_deploy.scenes import draw_scene

    make_folder(folder)
    for seed in range(count):
        cv2.imwrite(str(folder / f"{seed}.png"), draw_scene(seed, *size).frame)
