"""Keep as few layers in fp32 as a budget of mIoU needs, the most sensitive first."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segnet_deploy.accuracy.datasets import Example
from segnet_deploy.accuracy.evaluate import evaluate
from segnet_deploy.errors import EngineError, ParityError
from segnet_deploy.optional import require
from segnet_deploy.quant.observe import observe
from segnet_deploy.quant.quantise import Quantiser, spread
from segnet_deploy.runtimes import installed
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.types import Frame

SENSITIVITY_FRAMES = 4


@dataclass(frozen=True)
class Drop:
    """What one runtime loses against fp32 on labelled frames; `result` is evaluate's."""

    runtime: str
    mean_iou: float
    result: dict[str, Any]


class Remembered(Segmenter):
    """A segmenter that runs each frame once and keeps its labels."""

    def __init__(self, path: Path):
        opened = load(path)
        super().__init__(opened.engine, opened.metadata, opened.fit)
        self._labels: dict[bytes, Frame] = {}

    def segment(self, frame: Frame) -> Frame:
        """Return the (H, W) uint8 labels of an (H, W, 3) uint8 BGR frame."""
        key = hashlib.sha256(frame.tobytes()).digest()
        if key not in self._labels:
            self._labels[key] = super().segment(frame)
        return self._labels[key]


def rank_layers(quantiser: Quantiser) -> list[tuple[str, float]]:
    """Return every layer with the share of labels that it alone changes in INT8, most first.

    Measured in an otherwise fp32 net on SENSITIVITY_FRAMES calibration frames: in an INT8 net
    the errors of the others would hide what one layer does.
    """
    inputs = spread(quantiser.inputs, SENSITIVITY_FRAMES)
    output = str(quantiser.fp32().graph.outputs[0].name)

    def labels(model: Any) -> list[Any]:
        found = (values[output] for values, _ in observe(model, [output], inputs))
        return [raw.argmax(1) if raw.ndim == 4 else raw for raw in found]

    expected, sites = labels(quantiser.fp32()), quantiser.sites()

    def changed(site: str) -> float:
        got = labels(quantiser.model([other for other in sites if other != site]))
        return sum(float((a != b).mean()) for a, b in zip(got, expected, strict=True)) / len(got)

    bar = require("tqdm").tqdm(
        sites, desc="sensitivity", unit="layer", leave=False, file=sys.stderr
    )
    return sorted(((site, changed(site)) for site in bar), key=lambda pair: -pair[1])


def meet_budget(
    quantiser: Quantiser,
    examples: Sequence[Example],
    max_drop: float,
    form: str,
    fp32: Segmenter,
    for_tensorrt: bool = False,
) -> tuple[tuple[str, ...], list[Drop]]:
    """Return the layers to keep so that no runtime loses more than `max_drop` (0 to 1) of mIoU.

    What each runtime loses with these comes along. Nothing is kept where INT8 meets the budget
    as it is. Raises ParityError where no layer could be INT8.
    """

    def fits(count: int) -> bool:
        keep = tuple(name for name, _ in ranked[:count])
        measured[count] = measure_drop(quantiser, examples, form, fp32, keep, for_tensorrt)
        worst = max(drop.mean_iou for drop in measured[count])
        print(f"{count} layers in fp32: mIoU {-100 * worst:+.2f} points", file=sys.stderr)
        return worst <= max_drop

    ranked: list[tuple[str, float]] = []
    measured: dict[int, list[Drop]] = {}
    if fits(0):
        return (), measured[0]
    ranked = rank_layers(quantiser)
    short, enough, most = 0, 1, len(ranked) - 1
    while not fits(enough):
        if enough >= most:
            raise ParityError(
                f"no part of the net can be int8 within --max-drop {100 * max_drop:g}; no file "
                "was written: allow more, or use --precision fp16"
            )
        short, enough = enough, min(2 * enough, most)
    while enough - short > 1:
        middle = (enough + short) // 2
        if fits(middle):
            enough = middle
        else:
            short = middle
    return tuple(name for name, _ in ranked[:enough]), measured[enough]


def measure_drop(
    quantiser: Quantiser,
    examples: Sequence[Example],
    form: str,
    fp32: Segmenter,
    keep: tuple[str, ...] = (),
    for_tensorrt: bool = False,
) -> list[Drop]:
    """Return what the INT8 file loses against `fp32` on `examples`, in each runtime."""
    drops = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "int8.onnx"
        quantiser.write(path, form, keep, for_tensorrt)
        for runtime in installed():
            try:
                segmenter = load(path, runtime)
            except EngineError as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            with segmenter:
                result = evaluate(segmenter, examples, False, fp32)
            lost = result["against"]["mean_iou"] - result["mean_iou"]
            drops.append(Drop(runtime, lost, result))
    if not drops:
        raise ParityError("no runtime here runs the INT8 file, so its mIoU cannot be measured")
    return drops
