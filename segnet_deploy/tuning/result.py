"""The result of a search and its JSON file, from which an interrupted search goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segnet_deploy.bench.json_decode import decode
from segnet_deploy.bench.timing import Timing
from segnet_deploy.errors import InputError
from segnet_deploy.files import atomic_write
from segnet_deploy.schemas import head
from segnet_deploy.system.machine import describe_machine, now, versions
from segnet_deploy.tuning.settings import TuneSettings

FILE_NAME = "tune.json"
KIND = "tune"
_CONSTANT = ("processor", "architecture", "cpus")  # of one machine


@dataclass(kw_only=True)
class Candidate:
    """One file in one runtime.

    `computed` is the arithmetic: the precision, or "weight rounding only". `screened` and
    `samples` are seconds per frame: of the first look, and of the last rounds, in which the
    nearest rivals took turns. `peak_bytes` is the largest resident memory of a fresh process.
    `mean_iou` and `classes` (IoU by name) are on labelled frames, `agreement` is the share of
    the reference's labels; all 0 to 1. `note` is why it was not measured further or not chosen,
    `error` why it cannot run.
    """

    variant: str
    precision: str
    file: str
    runtime: str
    model_bytes: int
    computed: str = ""
    screened: list[float] = field(default_factory=list)
    samples: list[float] = field(default_factory=list)
    load_seconds: float | None = None
    peak_bytes: int | None = None
    mean_iou: float | None = None
    classes: dict[str, Any] = field(default_factory=dict)
    agreement: float | None = None
    note: str = ""
    error: str | None = None

    @property
    def name(self) -> str:
        """The variant and its runtime, such as 'int8 percentile in openvino'."""
        return f"{self.variant} in {self.runtime}"

    @property
    def seconds(self) -> float:
        """The median time per frame of the last rounds; of a first look, the minimum.

        A first look has few samples, and what disturbs them only adds time.
        """
        return Timing(tuple(self.samples)).median if self.samples else min(self.screened)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval of the median of the last rounds, or None."""
        return Timing(tuple(self.samples)).interval if self.samples else None

    @property
    def measured(self) -> bool:
        """Whether its time is known."""
        return self.error is None and bool(self.screened)

    @property
    def judged(self) -> bool:
        """Whether its accuracy is known."""
        return self.agreement is not None


@dataclass(kw_only=True)
class TuneResult:
    """All candidates and the choice; `frames` were judged on, `labelled` if they have labels.

    `reference` and `chosen` are names of candidates; `seconds` is how long the search took.
    """

    source: str
    source_sha256: str
    started: str = ""
    seconds: float = 0.0
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    frames: int = 0
    labelled: bool = False
    candidates: list[Candidate] = field(default_factory=list)
    variants: list[str] = field(default_factory=list)
    reference: str = ""
    chosen: str = ""
    file: str = ""
    notes: list[str] = field(default_factory=list)

    def find(self, name: str) -> Candidate | None:
        """Return the candidate of that name, or None."""
        return next((c for c in self.candidates if c.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**head(KIND), **asdict(self)}


class Document:
    """The result in `folder`/tune.json, saved after each step. An earlier one is continued.

    Raises InputError if the earlier one was made of another file, with other settings or
    versions, or on another machine.
    """

    def __init__(self, folder: Path, source: str, sha256: str, settings: TuneSettings):
        self.path = folder / FILE_NAME
        self.result = TuneResult(
            source=source,
            source_sha256=sha256,
            started=now(),
            machine=describe_machine(),
            versions=versions(),
            settings=settings.to_json(),
            labelled=settings.data is not None,
        )
        if self.path.is_file():
            earlier = read_result(self.path)
            self._check(earlier)
            self.result = earlier

    def save(self) -> None:
        """Write the file. Raises InputError."""
        text = json.dumps(self.result.to_json(), indent=1) + "\n"
        atomic_write(self.path, text.encode())

    def _check(self, earlier: TuneResult) -> None:
        new = self.result
        facts = {
            "of another file": (earlier.source_sha256, new.source_sha256),
            "with other settings": (earlier.settings, new.settings),
            "with other versions": (earlier.versions, new.versions),
            "on another machine": tuple(
                [result.machine.get(key) for key in _CONSTANT] for result in (earlier, new)
            ),
        }
        changed = [name for name, (old, now_) in facts.items() if old != now_]
        if changed:
            raise InputError(
                f"{self.path} was made {' and '.join(changed)}; give another -o, or --fresh"
            )


def read_result(path: Path) -> TuneResult:
    """Read the JSON of a search. Raises InputError."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}; give another -o, or --fresh") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise InputError(f"{path} is not a result of segnet-tune; give another -o, or --fresh")
    return decode(TuneResult, content, str(path))
