"""How many labels a file in reduced precision keeps of its fp32 source, in each runtime.

A file can be right in one runtime and wrong in another, so every runtime is checked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segnet_deploy.errors import EngineError, ParityError
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.loader import installed
from segnet_deploy.segmenter import load
from segnet_deploy.types import Frame

MIN_AGREEMENT = {"fp32": 0.9999, "fp16": 0.98, "bf16": 0.97, "int8": 0.93}
"""The default limits by the precision that was computed in, as the share of labels kept.

A trained SegNet keeps 99.4 to 99.8 % in fp16, 98.2 % in bf16 and 96.0 to 97.5 % in INT8, and loses
no mIoU by it (docs/precision.md); the limits are below the worst frame that was measured.
"""
_ROUNDED = {"fp16": 0.99, "bf16": 0.97}  # where only the weights are in half precision


def default_limit(precision: str, half: bool) -> float:
    """Return the share of labels that a file of `precision` must keep, 0 to 1.

    `half`: whether the runtime computes in that precision, or in fp32 with rounded weights.
    """
    return MIN_AGREEMENT[precision] if half else _ROUNDED.get(precision, MIN_AGREEMENT[precision])


@dataclass(frozen=True)
class Agreement:
    """The share of labels that one runtime keeps on each frame, 0 to 1.

    `half`: whether it computes an fp16 or bf16 file in that precision.
    """

    runtime: str
    half: bool
    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over frames."""
        return float(np.mean(self.shares))


def compare_labels(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    frames: Sequence[Frame],
    runtimes: Sequence[str] | None = None,
    progress: Progress = silent,
) -> list[Agreement]:
    """Run both files on `frames`; the source runs in the first runtime that accepts it.

    `runtimes` None is all that are installed. One that rejects the target is left out and
    reported. Raises ParityError if none accepts it.
    """
    names = list(runtimes or installed())
    first = "auto" if runtimes is None else names[0]
    expected = _labels(source, first, frames, "source", progress)[1]
    found = []
    for name in names:
        try:
            half, labels = _labels(target, name, frames, name, progress)
        except EngineError as error:
            progress(f"left out: {error}")
            continue
        shares = tuple(float((a == b).mean()) for a, b in zip(labels, expected, strict=True))
        found.append(Agreement(name, half, shares))
    if not found:
        raise ParityError(
            f"no installed runtime accepts {target}, so it is not checked; no file was written"
        )
    return found


def check_agreement(
    found: Sequence[Agreement],
    minimum: float,
    precision: str,
    advice: str,
    progress: Progress = silent,
) -> None:
    """Raise ParityError, after reporting the table, if a runtime keeps less than `minimum`."""
    for row in found:
        if not row.mean >= minimum:
            progress(format_agreement(found, precision))
            raise ParityError(
                f"{row.runtime} keeps only {row.mean:.2%} of the labels (limit {minimum:.2%}). No "
                f"file was written; {advice}"
            )


def format_agreement(found: Sequence[Agreement], precision: str) -> str:
    """Return the table of a comparison."""
    lines = [f"{'runtime':12} {'arithmetic':22}{'frames':>7}{'labels kept':>13}{'worst frame':>13}"]
    for row in found:
        lines.append(
            f"{row.runtime:12} {arithmetic(precision, row.half):22}{len(row.shares):7}"
            f"{row.mean:13.3%}{min(row.shares):13.3%}"
        )
    return "\n".join(lines)


def arithmetic(precision: str, half: bool) -> str:
    """Return what a runtime computes in; most CPUs compute fp16 and bf16 files in fp32."""
    return precision if half or precision not in ("fp16", "bf16") else "weight rounding only"


def _labels(
    path: str | os.PathLike[str],
    runtime: str,
    frames: Sequence[Frame],
    title: str,
    progress: Progress,
) -> tuple[bool, list[Frame]]:
    """Return whether halves are computed as such, and the labels of each frame."""
    labels: list[Frame] = []
    with load(path, runtime) as segmenter:
        step = segmenter.batch or 1
        progress(f"labels ({title})", 0, len(frames))
        for start in range(0, len(frames), step):
            labels += segmenter.segment_batch(frames[start : start + step])
            progress(f"labels ({title})", len(labels), len(frames))
        return segmenter.engine.computes_half, labels
