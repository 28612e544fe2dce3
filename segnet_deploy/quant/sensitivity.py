"""Keep as few layers in fp32 as an mIoU budget allows, the most sensitive first."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segnet_deploy.accuracy.datasets import Example
from segnet_deploy.accuracy.evaluate import evaluate
from segnet_deploy.errors import EngineError, ParityError
from segnet_deploy.frames import spread
from segnet_deploy.progress import track
from segnet_deploy.quant.graph_values import read_values
from segnet_deploy.quant.quantiser import Quantiser
from segnet_deploy.runtimes.loader import installed
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.runtimes.onnxruntime import open_witness
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.types import Frame

SENSITIVITY_FRAMES = 4


@dataclass(frozen=True)
class AccuracyDrop:
    """What one runtime loses against fp32 on labelled frames.

    `mean_iou` is the loss, 0 to 1; `result` is that of `evaluate`.
    """

    runtime: str
    mean_iou: float
    result: dict[str, Any]


class CachingSegmenter(Segmenter):
    """A file in ONNX Runtime's own operators, which runs each frame once and keeps its labels."""

    def __init__(self, path: Path):
        super().__init__(open_witness(ModelFile.read(path)))
        self._labels: dict[bytes, Frame] = {}

    def segment(self, frame: Frame) -> Frame:
        """Return the (H, W) uint8 labels of an (H, W, 3) uint8 BGR frame."""
        key = hashlib.sha256(frame.tobytes()).digest()
        if key not in self._labels:
            self._labels[key] = super().segment(frame)
        return self._labels[key]


@dataclass(frozen=True)
class DropMeter:
    """Measures how much accuracy INT8 files of one quantiser lose on labelled frames."""

    quantiser: Quantiser
    examples: Sequence[Example]
    form: str
    fp32: Segmenter
    for_tensorrt: bool = False

    def measure(self, keep: tuple[str, ...] = ()) -> list[AccuracyDrop]:
        """Return what the INT8 file with `keep` in fp32 loses, in each runtime.

        Raises ParityError if no runtime accepts the file.
        """
        progress = self.quantiser.progress
        drops = []
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "int8.onnx"
            self.quantiser.write(path, self.form, keep, self.for_tensorrt)
            for runtime in installed():
                try:
                    segmenter = load(path, runtime)
                except EngineError as error:
                    progress(f"left out: {error}")
                    continue
                with segmenter:
                    result = evaluate(segmenter, self.examples, False, self.fp32, progress)
                lost = result["against"]["mean_iou"] - result["mean_iou"]
                drops.append(AccuracyDrop(runtime, lost, result))
        if not drops:
            raise ParityError("no installed runtime runs the INT8 file; its mIoU is unknown")
        return drops


def rank_layers(quantiser: Quantiser) -> list[tuple[str, float]]:
    """Return every layer with the share of labels that it alone changes in INT8, highest first.

    Measured in an otherwise fp32 network on SENSITIVITY_FRAMES calibration frames: in an INT8
    network the errors of the other layers would hide what one layer does.
    """
    inputs = spread(quantiser.inputs, SENSITIVITY_FRAMES)
    output = str(quantiser.fp32().graph.outputs[0].name)

    def labels(model: Any) -> list[Any]:
        found = (values[output] for values, _ in read_values(model, [output], inputs))
        return [raw.argmax(1) if raw.ndim == 4 else raw for raw in found]

    expected, sites = labels(quantiser.fp32()), quantiser.sites()

    def changed(site: str) -> float:
        got = labels(quantiser.model([other for other in sites if other != site]))
        return sum(float((a != b).mean()) for a, b in zip(got, expected, strict=True)) / len(got)

    ranked = [(site, changed(site)) for site in track(sites, "sensitivity", quantiser.progress)]
    return sorted(ranked, key=lambda pair: -pair[1])


def meet_budget(meter: DropMeter, max_drop: float) -> tuple[tuple[str, ...], list[AccuracyDrop]]:
    """Return the layers to keep so that no runtime loses more than `max_drop` (0 to 1) of mIoU.

    The second value is what each runtime loses with these. Nothing is kept if plain INT8 meets
    the budget. Raises ParityError if no layer can be INT8.
    """
    ranked: list[tuple[str, float]] = []
    measured: dict[int, list[AccuracyDrop]] = {}

    def fits(count: int) -> bool:
        measured[count] = meter.measure(tuple(name for name, _ in ranked[:count]))
        worst = max(drop.mean_iou for drop in measured[count])
        meter.quantiser.progress(f"{count} layers in fp32: mIoU {-100 * worst:+.2f} points")
        return worst <= max_drop

    if fits(0):
        return (), measured[0]
    ranked = rank_layers(meter.quantiser)
    short, enough, most = 0, 1, len(ranked) - 1
    while not fits(enough):
        if enough >= most:
            raise ParityError(
                f"no part of the network can be int8 within --max-drop {100 * max_drop:g}; no "
                "file was written: allow more, or use --precision fp16"
            )
        short, enough = enough, min(2 * enough, most)
    while enough - short > 1:
        middle = (enough + short) // 2
        if fits(middle):
            enough = middle
        else:
            short = middle
    return tuple(name for name, _ in ranked[:enough]), measured[enough]
