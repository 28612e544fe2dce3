"""What the budget permits, the Pareto front, and the choice."""

from __future__ import annotations

from collections.abc import Sequence

from segnet_deploy.tuning.result import Candidate
from segnet_deploy.tuning.settings import TuneSettings


def over_memory(candidate: Candidate, settings: TuneSettings) -> str:
    """Return why the memory budget refuses a candidate, or nothing."""
    limit, peak = settings.max_memory, candidate.peak_bytes
    if limit is None or peak is None or peak <= limit:
        return ""
    return f"needs {peak / 1e6:.0f} MB, over the limit of {limit / 1e6:.0f}"


def over_budget(candidate: Candidate, reference: Candidate, settings: TuneSettings) -> str:
    """Return why the accuracy budget refuses a judged candidate, or nothing."""
    required = settings.required_agreement
    if required is not None and candidate.agreement is not None and candidate.agreement < required:
        return f"keeps {candidate.agreement:.2%} of the labels, under {required:.2%}"
    lost = drop(candidate, reference)
    if lost is not None and lost > settings.max_drop:
        return f"loses {100 * lost:.2f} points of mIoU, over {100 * settings.max_drop:g}"
    return ""


def drop(candidate: Candidate, reference: Candidate) -> float | None:
    """Return the loss of mIoU, 0 to 1; None if it was not measured."""
    if candidate.mean_iou is None or reference.mean_iou is None:
        return None
    return reference.mean_iou - candidate.mean_iou


def worst_class(candidate: Candidate, reference: Candidate) -> tuple[str, float] | None:
    """Return the class whose IoU falls most and its change, or None if it is not known."""
    changes = [
        (name, iou - reference.classes[name])
        for name, iou in candidate.classes.items()
        if iou is not None and reference.classes.get(name) is not None
    ]
    return min(changes, key=lambda pair: pair[1], default=None)


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the judged candidates that no other beats in time, memory and accuracy at once."""
    judged = [c for c in candidates if c.measured and c.judged]
    return [c for c in judged if not any(_dominates(other, c) for other in judged)]


def _dominates(one: Candidate, other: Candidate) -> bool:
    """Return whether `one` is nowhere worse than `other`, and somewhere better."""
    ones, others = _costs(one), _costs(other)
    return ones != others and all(a <= b for a, b in zip(ones, others, strict=True))


def _costs(candidate: Candidate) -> tuple[float, float, float]:
    accuracy = candidate.agreement if candidate.mean_iou is None else candidate.mean_iou
    return candidate.seconds, float(candidate.peak_bytes or 0), -(accuracy or 0.0)
