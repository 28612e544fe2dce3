"""How many labels a file in reduced precision keeps of its fp32 source, in each runtime.

A file can be right in one runtime and wrong in another, so every runtime is checked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from segnet_deploy.errors import EngineError, ParityError
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.loader import installed
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.runtimes.onnxruntime import open_witness
from segnet_deploy.segmenter import Segmenter, load
from segnet_deploy.types import Array, Frame

MIN_AGREEMENT = {"fp32": 0.9999, "fp16": 0.98, "bf16": 0.97, "int8": 0.93}
"""The default limits by the precision that was computed in, as the share of labels kept.

A trained SegNet keeps 99.4 to 99.8 % in fp16, 98.2 % in bf16 and 96.0 to 97.5 % in INT8, and loses
no mIoU by it (docs/how-to/precision.md); the limits are below the worst frame that was measured.
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

    `half`: whether it computes an fp16 or bf16 file in that precision. `outputs` has the same for
    each further output by name: how much of its values it keeps (`share_kept`).
    """

    runtime: str
    half: bool
    shares: tuple[float, ...]
    outputs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean over frames."""
        return float(np.mean(self.shares))


def share_kept(found: Array, expected: Array) -> float:
    """Return how much of an output's values another run keeps: 1 - |difference|^2 / |values|^2.

    1 for equal values, 0 or less for unrelated ones; 0 for another shape.
    """
    if found.shape != expected.shape:
        return 0.0
    values = expected.astype(np.float64)
    error = float(np.square(found - values).sum())
    total = float(np.square(values).sum())
    return 1 - error / total if total else float(error == 0)


def compare_labels(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    frames: Sequence[Frame],
    runtimes: Sequence[str] | None = None,
    progress: Progress = silent,
) -> list[Agreement]:
    """Run both files on `frames`: the target in `runtimes`, None being all that are installed.

    The source runs in ONNX Runtime's own operators, in no rewrite of this package. A runtime that
    rejects the target is left out and reported. Raises ParityError if none accepts it.
    """
    names = list(runtimes or installed())
    witness = Segmenter(open_witness(ModelFile.read(source)))
    expected = _run(witness, frames, "source", progress)[1]
    found = []
    for name in names:
        try:
            half, results = _run(load(target, name), frames, name, progress)
        except EngineError as error:
            progress(f"left out: {error}")
            continue
        found.append(_agreement(name, half, results, expected))
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
        for name, shares in row.outputs.items():
            if not np.mean(shares) >= minimum:
                raise ParityError(
                    f"{row.runtime} keeps only {np.mean(shares):.2%} of the values of '{name}' "
                    f"(limit {minimum:.2%}). No file was written; {advice}"
                )


def format_agreement(found: Sequence[Agreement], precision: str) -> str:
    """Return the table of a comparison."""
    lines = [f"{'runtime':12} {'arithmetic':22}{'frames':>7}{'labels kept':>13}{'worst frame':>13}"]
    for row in found:
        lines.append(
            f"{row.runtime:12} {arithmetic(precision, row.half):22}{len(row.shares):7}"
            f"{row.mean:13.3%}{min(row.shares):13.3%}"
        )
        lines += [
            f"  values of {name:29.29}{len(shares):7}{np.mean(shares):13.3%}{min(shares):13.3%}"
            for name, shares in row.outputs.items()
        ]
    return "\n".join(lines)


def arithmetic(precision: str, half: bool) -> str:
    """Return what a runtime computes in; most CPUs compute fp16 and bf16 files in fp32."""
    return precision if half or precision not in ("fp16", "bf16") else "weight rounding only"


_Results = dict[str, Array]
"""`labels`, (H, W), and every output but the one that they come from."""


def _agreement(
    runtime: str, half: bool, results: Sequence[_Results], expected: Sequence[_Results]
) -> Agreement:
    pairs = list(zip(results, expected, strict=True))
    labels = tuple(float((a["labels"] == b["labels"]).mean()) for a, b in pairs)
    names = [name for name in expected[0] if name != "labels"] if expected else []
    others = {n: tuple(share_kept(a[n], b[n]) for a, b in pairs) for n in names}
    return Agreement(runtime, half, labels, others)


def _run(
    segmenter: Segmenter,
    frames: Sequence[Frame],
    title: str,
    progress: Progress,
) -> tuple[bool, list[_Results]]:
    """Return whether halves are computed as such, and the results of each frame; close it."""
    results: list[_Results] = []
    with segmenter:
        several = len(segmenter.engine.outputs) > 1
        logits = segmenter.engine.outputs[0].name
        step = 1 if several else segmenter.batch or 1
        progress(f"labels ({title})", 0, len(frames))
        for start in range(0, len(frames), step):
            if several:
                found = segmenter.run(frames[start])
                results.append({k: v for k, v in found.items() if k == "labels" or k != logits})
            else:
                batch = segmenter.segment_batch(frames[start : start + step])
                results += [{"labels": labels} for labels in batch]
            progress(f"labels ({title})", len(results), len(frames))
        return segmenter.engine.computes_half, results
