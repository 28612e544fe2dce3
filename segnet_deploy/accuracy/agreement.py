"""Labels of a file in reduced precision against its fp32 source, in every installed runtime.

One file can be right in one runtime and wrong in another, so each is asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segnet_deploy.errors import EngineError, ParityError
from segnet_deploy.optional import require
from segnet_deploy.runtimes import installed
from segnet_deploy.segmenter import load
from segnet_deploy.types import Frame

LEAST = {"fp32": 0.9999, "fp16": 0.99, "bf16": 0.99, "int8": 0.93}


@dataclass(frozen=True)
class Agreement:
    """How many labels of each frame one runtime keeps, 0 to 1."""

    runtime: str
    half: bool  # an fp16 or bf16 file is computed in that
    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.shares))


def compare_labels(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    frames: Sequence[Frame],
    runtimes: Sequence[str] | None = None,
) -> list[Agreement]:
    """Run both files on `frames`; the source runs in the first runtime that takes it.

    A runtime that does not take the target is left out, said on stderr. Raises ParityError
    where none does.
    """
    names = list(runtimes or installed())
    expected = _labels(source, "auto" if runtimes is None else names[0], frames, "fp32")[1]
    found = []
    for name in names:
        try:
            half, labels = _labels(target, name, frames, name)
        except EngineError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        shares = tuple(float((a == b).mean()) for a, b in zip(labels, expected, strict=True))
        found.append(Agreement(name, half, shares))
    if not found:
        raise ParityError(f"no runtime here runs {target}, so it could not be checked; no file")
    return found


def check_agreement(found: Sequence[Agreement], least: float, precision: str, advice: str) -> None:
    """Raise ParityError, after the table, where a runtime keeps less than `least` of the labels."""
    for row in found:
        if not row.mean >= least:
            print(format_agreement(found, precision), file=sys.stderr)
            raise ParityError(
                f"{row.runtime} keeps {row.mean:.2%} of the labels only (limit {least:.2%}). No "
                f"file was written; {advice}"
            )


def format_agreement(found: Sequence[Agreement], precision: str) -> str:
    """Return the table of a gate."""
    lines = [f"{'runtime':12} {'arithmetic':22}{'frames':>7}{'labels kept':>13}{'worst frame':>13}"]
    for row in found:
        lines.append(
            f"{row.runtime:12} {arithmetic(precision, row.half):22}{len(row.shares):7}"
            f"{row.mean:13.3%}{min(row.shares):13.3%}"
        )
    return "\n".join(lines)


def arithmetic(precision: str, half: bool) -> str:
    """Say what a runtime really computes in; most CPUs compute fp16 and bf16 files in fp32."""
    return precision if half or precision not in ("fp16", "bf16") else "weight rounding only"


def _labels(
    path: str | os.PathLike[str], runtime: str, frames: Sequence[Frame], title: str
) -> tuple[bool, list[Frame]]:
    with load(path, runtime) as segmenter:
        step = segmenter.batch or 1
        bar = require("tqdm").tqdm(
            range(0, len(frames), step), desc=title, leave=False, file=sys.stderr
        )
        labels = [m for i in bar for m in segmenter.segment_batch(frames[i : i + step])]
        return segmenter.engine.computes_half, labels
