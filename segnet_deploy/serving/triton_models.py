"""The models that run inside Triton's Python backend: decode, segment, encode.

A model's `model.py` in the repository imports one of these classes under the name that the backend
expects. Source: the README of triton-inference-server/python_backend.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.errors import InputError, SegNetError
from segnet_deploy.frames import decode_image, encode_png
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.types import Frame

FRAME, LABELS, IMAGE, PNG = "frame", "labels", "image", "png"
SETTINGS = "serving.json"  # of one version: engine, sha256, runtime, threads, fit


class _Model:
    """Answers each request by `answer`; an error of ours becomes that request's error."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Return one response per request; called by the backend."""
        backend: Any = import_module("triton_python_backend_utils")
        responses = []
        for request in requests:
            try:
                tensor = backend.Tensor(*self.answer(request.inputs()[0].as_numpy()))
                responses.append(backend.InferenceResponse(output_tensors=[tensor]))
            except SegNetError as error:
                failure = backend.TritonError(" ".join(str(error).split()))
                responses.append(backend.InferenceResponse(error=failure))
        return responses

    def answer(self, x: Any) -> tuple[str, Any]:
        """Return the name and value of the output for one request's input."""
        raise NotImplementedError


class SegmenterModel(_Model):
    """frame (N, H, W, 3) uint8 BGR -> labels (N, H, W) uint8, at the frame's own size."""

    def initialize(self, arguments: dict[str, str]) -> None:
        """Load the engine of this version; called once per instance by the backend."""
        check_numpy(np.__version__)
        backend: Any = import_module("triton_python_backend_utils")
        folder = Path(arguments["model_repository"]) / arguments["model_version"]
        try:
            self._segmenter = open_version(folder)
        except SegNetError as error:
            raise backend.TritonModelException(" ".join(str(error).split())) from error

    def finalize(self) -> None:
        """Close the engine; called by the backend before it unloads the model."""
        self._segmenter.close()

    def answer(self, x: Any) -> tuple[str, Any]:
        """Segment the frames of one request."""
        return LABELS, np.stack(self._segmenter.segment_batch(list(x)))


class DecoderModel(_Model):
    """image (N, 1): image files as bytes -> frame (N, H, W, 3) uint8 BGR."""

    def answer(self, x: Any) -> tuple[str, Any]:
        """Decode the images of one request."""
        return FRAME, _stacked([decode_image(data, "in the request") for data in x.ravel()])


class EncoderModel(_Model):
    """labels (N, H, W) uint8 -> png (N, 1): PNG files as bytes."""

    def answer(self, x: Any) -> tuple[str, Any]:
        """Encode the label maps of one request."""
        return PNG, np.array([[encode_png(labels)] for labels in x], dtype=object)


def open_version(folder: Path) -> Segmenter:
    """Open the engine in the folder of one version. Raises SegNetError."""
    from segnet_deploy.batch.engine_files import read_engine

    try:
        settings = json.loads((folder / SETTINGS).read_text("utf-8"))
        path, digest = folder / settings["engine"], settings["sha256"]
        options = (settings["runtime"], settings["fit"], settings["threads"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"cannot read {folder / SETTINGS} ({error}); write the version again with segnet-triton"
        ) from error
    if not path.is_file() or read_engine(path).sha256 != digest:
        raise InputError(
            f"{path} is missing, or not the file that was put there; write the version again with "
            "segnet-triton"
        )
    return load(path, *options)


def check_numpy(version: str) -> None:
    """Raise a RuntimeError for a numpy with which the backend exchanges wrong values.

    Seen with server 2.51: with numpy 2 in the stub's interpreter tensors arrive with other values,
    without an error.
    """
    if int(version.split(".")[0]) >= 2:
        raise RuntimeError(
            f"numpy {version} in the server's Python: its Python backend then exchanges wrong "
            'values; install an older one there: pip install "numpy<2"'
        )


def _stacked(frames: Sequence[Frame]) -> Frame:
    if len({frame.shape for frame in frames}) > 1:
        raise InputError("images of several sizes in one request; send one image per request")
    return np.stack(frames)
