"""What is asked of a search: the images, the budget and what may be used."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from segnet_deploy.errors import InputError
from segnet_deploy.quant import DEFAULT_FRAMES
from segnet_deploy.runtimes.base import ONNX_RUNTIMES

MIN_AGREEMENT = 0.95  # without labelled frames


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """How candidates are made, measured and judged.

    `calibration` is a folder of images for INT8, of which `calibration_frames` are used. `data`,
    in `layout` and `split` as for find_examples, has labelled frames, of which `frames` are used;
    without it, images of `calibration` that do not calibrate are compared with fp32. The budget:
    a loss of mIoU of at most `max_drop` (0 to 1; needs `data`), at least `min_agreement` of the
    fp32 labels (0 to 1; None is no limit with `data`, else MIN_AGREEMENT), and at most
    `max_memory` bytes in the process. `runtimes` empty is all that are installed. `exhaustive`
    judges every candidate, also those that are too slow to be chosen.
    """

    calibration: str | None = None
    data: str | None = None
    layout: str = "folders"
    split: str | None = None
    frames: int = 60
    calibration_frames: int = DEFAULT_FRAMES
    max_drop: float = 0.005
    min_agreement: float | None = None
    max_memory: int | None = None
    threads: int | None = None
    runtimes: tuple[str, ...] = ()
    exhaustive: bool = False

    def __post_init__(self) -> None:
        if not (self.data or self.calibration):
            raise InputError(
                "no images to judge by: give data (labelled frames), calibration (images), or both"
            )
        for name in ("frames", "calibration_frames", "threads", "max_memory"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} {value}; expected 1 or more")
        if not 0 <= self.max_drop <= 1:
            raise InputError(f"max_drop {self.max_drop}; expected 0 to 1")
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise InputError(f"min_agreement {self.min_agreement}; expected 0 to 1")
        if unknown := set(self.runtimes) - set(ONNX_RUNTIMES):
            raise InputError(
                f"unknown runtime {', '.join(sorted(unknown))}; expected {', '.join(ONNX_RUNTIMES)}"
            )

    @property
    def required_agreement(self) -> float | None:
        """The share of fp32 labels to keep; None if only mIoU decides."""
        if self.min_agreement is not None or self.data:
            return self.min_agreement
        return MIN_AGREEMENT

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self) | {"runtimes": list(self.runtimes)}
