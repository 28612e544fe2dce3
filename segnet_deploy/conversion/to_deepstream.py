"""Write the file that DeepStream's nvinfer reads, and its configuration.

What nvinfer does, from its documentation and its open sources (nvdsinfer): it scales a frame to the
network's size, gives float32 pixels `net-scale-factor * (x - offset)` in planes, and its parser of
semantic segmentation takes output 0 as float scores (classes, H, W): a pixel starts with class -1
and score -1, and gets a class whose score is larger than the one before and than
`segmentation-threshold`. So a file with logits or with labels gives wrong classes: this one has the
normalisation of each channel and a softmax in the graph.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from segnet_deploy.accuracy.gate_inputs import InputMaker
from segnet_deploy.conversion.compare_files import Outputs, check_outputs, run_source
from segnet_deploy.conversion.lower_for_device import lower_for_device
from segnet_deploy.errors import UsageError
from segnet_deploy.files import atomic_path
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_scores import SCORES, adds_up_to_one, to_scores
from segnet_deploy.passes.to_two_classes import PROBABILITIES, find_kind, has_one_channel
from segnet_deploy.progress import Progress, naming, silent
from segnet_deploy.runtimes.model_file import load_model, save_model
from segnet_deploy.types import Array, Frame

COLOURS = {"rgb": 0, "bgr": 1}  # nvinfer's model-color-format
GREY = 2
ADVICE = "check the weights, the normalisation and the outputs of the network"


@dataclass(frozen=True)
class DeepstreamResult:
    """The ONNX file at `path`, its configuration and its class names, and the comparison.

    `labels` is None if the source records no class names. `agreement` is the share of labels,
    0 to 1, that are those of the source, on `inputs` inputs; `delta` the largest difference of a
    score.
    """

    path: Path
    config: Path
    labels: Path | None
    inputs: int
    agreement: float
    delta: float


def to_deepstream(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    images: Sequence[Frame] = (),
    min_agreement: float | None = None,
    progress: Progress = silent,
    **options: Any,
) -> DeepstreamResult:
    """Write `source`, an ONNX file, for nvinfer, with F.txt and F_labels.txt next to F.onnx.

    The scores are compared with the source in ONNX Runtime. `options` are those of
    `lower_for_device`. Raises UsageError, ParityError or what `lower_for_device` raises; then no
    file is written.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise UsageError(f"-o {path}; expected a name that ends with .onnx")
    kept: dict[str, Any] = {"images": images, "min_agreement": min_agreement}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as files:
        lowered, written = Path(folder) / "lowered.onnx", Path(folder) / path.name
        shown = naming(progress, lowered, source)
        lower_for_device(source, lowered, dynamic_batch=True, progress=shown, **kept, **options)
        model = load_model(lowered)
        metadata = Metadata.from_props(dict(model.metadata_props))
        ir.external_data.load_to_model(model)
        if len(model.graph.outputs) > 1:
            progress(
                f"note: only '{model.graph.outputs[0].name}' is kept: nvinfer reads one output"
            )
        original = load_model(Path(source))
        softmax = not _are_probabilities(original)
        model = to_scores(model, metadata.mean, metadata.std, softmax).model
        pixels = replace(
            metadata, mean=(0.0,) * 3, std=(1.0,) * 3, label_output=SCORES, threshold=0.0
        )
        model.metadata_props.update(pixels.to_props())
        save_model(model, written)
        whole = lowered if has_one_channel(original) else source
        progress(f"onnxruntime: comparing with {source}")
        what = f"{path} agrees with {source}"
        found = _compare(whole, written, metadata, softmax, what, **kept)
        texts = {path.with_suffix(".txt"): nvinfer_config(path.name, model, pixels)}
        labels = path.with_name(f"{path.stem}_labels.txt") if metadata.classes else None
        if labels is not None:
            texts[labels] = "".join(f"{name}\n" for name in metadata.classes)
        files.enter_context(atomic_path(path)).write_bytes(written.read_bytes())
        for name, text in texts.items():
            files.enter_context(atomic_path(name)).write_text(text, "utf-8")
    return DeepstreamResult(path, path.with_suffix(".txt"), labels, *found)


def nvinfer_config(name: str, model: ir.Model, metadata: Metadata) -> str:
    """Return the configuration of nvinfer for the file `name`: paths are relative to its own."""
    shape, scores = model.graph.inputs[0].shape, model.graph.outputs[0].shape
    assert shape is not None
    assert scores is not None
    batch, channels, height, width = shape
    batch = batch if isinstance(batch, int) else 1
    values = {
        "gpu-id": 0,
        "gie-unique-id": 1,
        "onnx-file": name,
        "model-engine-file": f"{name}_b{batch}_gpu0_fp32.engine",
        **({"labelfile-path": f"{Path(name).stem}_labels.txt"} if metadata.classes else {}),
        "batch-size": batch,
        "infer-dims": f"{channels};{height};{width}",
        "network-type": 2,
        "network-mode": 0,
        "num-detected-classes": scores[1],
        "output-blob-names": SCORES,
        "net-scale-factor": 1,
        "model-color-format": GREY if channels == 1 else COLOURS[metadata.channel_order],
        "maintain-aspect-ratio": 0,
        "segmentation-threshold": 0,
        "segmentation-output-order": 0,
    }
    return (
        f"# Gst-nvinfer, for {name}; written by segnet-export --for deepstream.\n"
        "# The file normalises pixels itself and returns a softmax: keep net-scale-factor=1 and\n"
        "# set no offsets. Pixels without a score above segmentation-threshold get the class -1.\n"
        "# network-mode=2 (and fp16 in model-engine-file) builds an engine in half precision.\n"
        "[property]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
    )


def _compare(
    source: str | os.PathLike[str],
    path: Path,
    metadata: Metadata,
    softmax: bool,
    what: str,
    images: Sequence[Frame],
    min_agreement: float | None,
) -> tuple[int, float, float]:
    """Return the number of inputs, the share of equal labels and the largest difference."""
    shape = load_model(path).graph.inputs[0].shape
    assert shape is not None
    batch, channels, height, width = (size if isinstance(size, int) else 2 for size in shape)
    maker = InputMaker(channels, (0.0,) * 3, (1.0,) * 3, metadata.channel_order, "tensor", images)
    inputs = [x for x in maker.make([(batch, height, width)]) if x.feed.min() >= 0]
    feeds = [_normalise(x.feed, metadata) for x in inputs]
    firsts = [next(iter(outputs.values())) for outputs in run_source(source, feeds)]
    expected: list[Outputs] = [{SCORES: _softmax(x) if softmax else x} for x in firsts]
    found = run_source(path, [x.feed for x in inputs])
    return len(inputs), *check_outputs(what, ADVICE, inputs, expected, found, min_agreement)


def _normalise(pixels: Array, metadata: Metadata) -> Array:
    """(N, C, H, W) pixels 0-255 -> the input of the source."""
    if pixels.shape[1] != 3:
        return pixels
    mean, std = (
        np.reshape(v, (1, 3, 1, 1)).astype(np.float32) for v in (metadata.mean, metadata.std)
    )
    normalised: Array = (pixels - mean) / std
    return normalised


def _softmax(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), logits.dtype)


def _are_probabilities(model: ir.Model) -> bool:
    """Return whether the first output holds them: of a softmax, or of a sigmoid for one class."""
    if has_one_channel(model):
        return find_kind(model) == PROBABILITIES
    return adds_up_to_one(model)
