"""The result of a measurement as typed values, and its JSON (schema: docs/how-to/report.md).

Measurement         what was measured of one model
 ├── RunResult      one model measured in this process: segnet-bench --engine
 └── NetworkResult  one network of a comparison
Comparison          several networks, measured in interleaved rounds

Values are in seconds, bytes, joules and watts. A value that is unknown or was not measured is
None. `to_json` returns what json.dumps accepts; `from_json` reads it, also as earlier versions
wrote it, and raises InputError for anything else. Tables and reports are functions over these
types.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from segnet_deploy.bench.json_decode import decode
from segnet_deploy.bench.layer_profile import Layer
from segnet_deploy.bench.paper import Table6Row
from segnet_deploy.bench.warnings import MeasurementWarning
from segnet_deploy.errors import InputError
from segnet_deploy.schemas import FORMATS, head
from segnet_deploy.system.power import Energy

RUN, COMPARISON = "run", "comparison"  # kinds of files
HOLDS, FAILS, NOISE = "holds", "does not hold", "within noise"  # verdicts
ADVICE = "expected a --json file of segnet-bench"


@dataclass(kw_only=True)
class Measurement:
    """What was measured of one model.

    `seconds` has the statistics of Timing.summary for each stage (bench/stages.py), `samples`
    their samples in order of time. `baseline_bytes` is the resident memory before the model was
    loaded, `peak_bytes` the largest of the whole process, `device_bytes` that on a GPU.
    `layers` has `name`, `op` and `seconds` of each layer.
    """

    engine: str = ""
    model_bytes: int | None = None
    runtime: str | None = None
    device: str | None = None
    form: str | None = None
    input: list[int | None] | None = None
    load_seconds: float | None = None
    warm_up_runs: int | None = None
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    warnings: list[MeasurementWarning] = field(default_factory=list)
    clocks: list[dict[str, Any]] = field(default_factory=list)
    baseline_bytes: int | None = None
    peak_bytes: int | None = None
    device_bytes: int | None = None
    switches: dict[str, Any] | None = None
    gpu: dict[str, Any] | None = None
    layers: list[Layer] | None = None
    power: Energy | None = None

    @property
    def is_measured(self) -> bool:
        """Whether there is a time of the network alone."""
        return "median" in self.seconds.get("infer", {})

    @property
    def median(self) -> float:
        """The median time of the network alone; only if it was measured."""
        return self.seconds["infer"]["median"]

    @property
    def added_bytes(self) -> int | None:
        """How much of the peak was added to the baseline."""
        if self.peak_bytes is None or self.baseline_bytes is None:
            return None
        return max(0, self.peak_bytes - self.baseline_bytes)


@dataclass(kw_only=True)
class NetworkResult(Measurement):
    """One network of a comparison.

    `paper` is its name in the SegNet paper, `network` the one of its metadata, `running_bytes`
    the largest resident memory while frames run, `memory_timeline` [seconds, bytes] pairs.
    `settled` is whether the warm-up became stable; `reopened`, whether it was loaded again
    because memory was short. The graph's cost is that of bench/graph_cost.py. `backward` is
    added by benchmarks/paper.py. `error` is why the measurement is missing or incomplete.
    """

    name: str
    sha256: str | None = None
    paper: str | None = None
    error: str | None = None
    network: str | None = None
    outputs: list[list[int | None]] | None = None
    settled: bool = True
    reopened: bool = False
    running_bytes: int | None = None
    memory_timeline: list[list[float]] | None = None
    gmac: float | None = None
    traffic_bytes: int | None = None
    index_windows: list[int] | None = None
    index_kind: str | None = None
    index_bytes: int | None = None
    backward: dict[str, Any] | None = None

    @property
    def running_added_bytes(self) -> int | None:
        """Memory while frames run, above the baseline; on a GPU, the memory there.

        It is 0 where a small network ran in memory that the process had already and gave back.
        """
        if self.device_bytes:
            return self.device_bytes
        if not self.running_bytes or not self.baseline_bytes:
            return None
        return max(0, self.running_bytes - self.baseline_bytes)

    def update(self, **values: Any) -> None:
        """Set several fields."""
        for name, value in values.items():
            setattr(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """Return the network as JSON."""
        return {"name": self.name, **asdict(self), "added_bytes": self.added_bytes}


@dataclass(kw_only=True)
class RunResult(Measurement):
    """One model, measured in this process.

    `dropout_samples` counts the samples of the dropout, None if the file has none.
    `frame` is the (height, width) of the frame, `threads` None if the runtime chose. `paper`
    is the network's row of the SegNet paper's Table 6. `runs` calls of `batch` frames.
    """

    runtime_version: str = ""
    frame: list[int] = field(default_factory=list)
    threads: int | None = None
    batch: int | None = None
    dropout_samples: int | None = None
    runs: int | None = None
    frames_per_second: float | None = None
    started: str | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    paper: Table6Row | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {**head(RUN), **asdict(self), "added_bytes": self.added_bytes}

    @classmethod
    def from_json(cls, content: Any, source: str = "result") -> RunResult:
        """Read the JSON of a run; `source` names it in errors. Raises InputError."""
        _check_format(content, source, RUN)
        peak, added = content.get("peak_bytes"), content.get("added_bytes")
        if "baseline_bytes" not in content and peak is not None and added is not None:
            content = content | {"baseline_bytes": peak - added}  # written before it had the key
        result = decode(cls, content, source)
        if not result.is_measured:
            raise InputError(f"{source} is not a result of segnet-bench; {ADVICE}")
        return result

    def as_comparison(self) -> Comparison:
        """Return a comparison of this one network, for the report."""
        common = {item.name: getattr(self, item.name) for item in fields(Measurement)}
        name = Path(self.engine).name
        paper = self.paper.network if self.paper else None
        network = NetworkResult(**common, name=name, paper=paper)
        settings = {key: getattr(self, key) for key in ("runs", "threads", "frame", "batch")}
        return Comparison(
            networks=[network],
            started=self.started,
            machine=self.machine,
            versions=self.versions,
            settings=settings,
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judgement on a claim of the paper: `verdict` is holds, does not hold or within noise.

    `ratio` is the other network's figure divided by SegNet's, `paper_ratio` the paper's own.
    """

    claim: str
    verdict: str
    figures: str = ""
    ratio: float | None = None
    paper_ratio: float | None = None
    note: str = ""


@dataclass(kw_only=True)
class Comparison:
    """Several networks measured alike. `settings` are those of bench/comparison/settings.py.

    `settings["ceilings"]` has what bench/roofline.py measured.
    """

    networks: list[NetworkResult] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    started: str | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> list[NetworkResult]:
        """The networks that have times."""
        return [network for network in self.networks if network.is_measured]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        return {
            **head(COMPARISON),
            "started": self.started,
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
            "networks": [network.to_json() for network in self.networks],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }

    @classmethod
    def from_json(cls, content: Any, source: str = "comparison") -> Comparison:
        """Read the JSON of a comparison; `source` names it in errors. Raises InputError."""
        _check_format(content, source, COMPARISON)
        return decode(cls, content, source)


def read_result(path: str | os.PathLike[str]) -> RunResult | Comparison:
    """Read a JSON file of segnet-bench. Raises InputError."""
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); {ADVICE}") from error
    is_comparison = isinstance(content, dict) and content.get("kind") == COMPARISON
    reader = Comparison.from_json if is_comparison else RunResult.from_json
    return reader(content, str(path))


def _check_format(content: Any, source: str, kind: str) -> None:
    """Raise InputError if `content` is not of this kind and format; earlier runs have neither."""
    default = head(RUN) if kind == RUN else {}
    found = default | content if isinstance(content, dict) else {}
    if found.get("kind") != kind:
        raise InputError(f"{source} is not a result of segnet-bench; {ADVICE}")
    if found.get("format") != FORMATS[kind]:
        raise InputError(
            f"{source} has format {found.get('format')}; expected {FORMATS[kind]}: measure again, "
            "or use the release that wrote it"
        )
