"""fp32 ONNX file -> INT8 ONNX file: calibrate, search a budget if asked, check, write."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from segnet_deploy.accuracy.agreement import MIN_AGREEMENT, Agreement
from segnet_deploy.accuracy.datasets import Example, find_examples
from segnet_deploy.errors import InputError
from segnet_deploy.frames import spread
from segnet_deploy.progress import Progress, silent
from segnet_deploy.quant import DEFAULT_FRAMES, DEFAULT_METHOD, LABELLED_FRAMES
from segnet_deploy.quant.quantiser import Quantiser, read_calibration
from segnet_deploy.quant.sensitivity import (
    AccuracyDrop,
    CachingSegmenter,
    DropMeter,
    meet_budget,
)
from segnet_deploy.segmenter import load


@dataclass(frozen=True)
class QuantiseResult:
    """The written file and what was found out about it.

    `int8` is the number of int8 convolutions, `kept` names those that stay fp32, `frames` counts
    the calibration frames. `agreement` has the share of labels kept by runtime, and `drops` the
    loss of mIoU by runtime on `labelled` frames, if there were any.
    """

    path: Path
    int8: int
    kept: tuple[str, ...]
    frames: int
    agreement: tuple[Agreement, ...]
    drops: tuple[AccuracyDrop, ...] = ()
    labelled: int = 0


def quantise(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    calibration: str | os.PathLike[str],
    *,
    form: str = "standard",
    method: str = DEFAULT_METHOD,
    frames: int = DEFAULT_FRAMES,
    full_range: bool = False,
    max_drop: float | None = None,
    data: str | os.PathLike[str] | None = None,
    layout: str = "folders",
    split: str | None = None,
    for_tensorrt: bool = False,
    min_agreement: float | None = None,
    progress: Progress = silent,
) -> QuantiseResult:
    """Write the INT8 file `target` of the fp32 file `source`.

    `calibration` is a folder of images, of which `frames` are used, evenly spread; `method` is
    minmax, percentile or entropy. `full_range` lets weights use all of int8, which saturates on
    CPUs without VNNI. `max_drop`, 0 to 1, keeps as many layers in fp32 as that loss of mIoU
    requires; it is measured on `data`, a folder of labelled frames in `layout`. `for_tensorrt`
    writes the INT8 that TensorRT parses. Each runtime must keep `min_agreement` of the labels.

    Raises InputError, UnsupportedModelError, EngineError or ParityError; then no file is written.

    >>> result = quantise("segnet.onnx", "segnet_int8.onnx", "data/images", min_agreement=0.5)
    >>> result.int8, result.kept
    (26, ())
    """
    if max_drop is not None and data is None:
        raise InputError(f"max_drop {max_drop} without data; give a folder of labelled frames")
    images = read_calibration(Path(calibration), frames, progress)
    examples = [] if data is None else _examples(Path(source), Path(data), layout, split)
    quantiser = Quantiser(Path(source), images, method, full_range, progress)
    keep: tuple[str, ...] = ()
    drops: list[AccuracyDrop] = []
    if examples:
        with CachingSegmenter(Path(source)) as fp32:
            meter = DropMeter(quantiser, examples, form, fp32, for_tensorrt)
            if max_drop is None:
                drops = meter.measure()
            else:
                keep, drops = meet_budget(meter, max_drop)
    minimum = MIN_AGREEMENT["int8"] if min_agreement is None else min_agreement
    file = quantiser.write_checked(Path(target), form, minimum, keep, for_tensorrt)
    return QuantiseResult(
        file.path, file.int8, file.kept, len(images), file.agreement, tuple(drops), len(examples)
    )


def _examples(source: Path, data: Path, layout: str, split: str | None) -> list[Example]:
    """Return labelled frames; they are all read once, so that a wrong one is found early."""
    examples = spread(find_examples(data, layout, split), LABELLED_FRAMES)
    with load(source) as opened:
        count = len(opened.metadata.classes)
    for example in examples:
        example.pair(count)
    return examples
