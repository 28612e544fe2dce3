"""Open each network, time them in turns, then what costs extra; save after each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from segnet_deploy.bench.comparison.claims import verdicts
from segnet_deploy.bench.comparison.document import NAME, Document, Network
from segnet_deploy.bench.comparison.network_process import WorkerProcess
from segnet_deploy.bench.comparison.process_pool import Crew, crew
from segnet_deploy.bench.memory import added_bytes
from segnet_deploy.bench.paper import TITLES
from segnet_deploy.bench.timing import Timing
from segnet_deploy.bench.warnings import RELOADED, noise_warnings, throttling_warnings
from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.files import make_folder, sha256
from segnet_deploy.runtimes.base import ENGINE_SUFFIXES, RUNTIMES, is_engine_file
from segnet_deploy.types import DEFAULT_SIZE, Size

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How every network of a comparison is measured.

    `runtime` auto is the fastest for the first network, and then serves all.
    `rounds` times each network makes one call that does not count and `runs` that do, after one
    round that counts for none. `size` is the (height, width) of the drawn frame that all get,
    where `image` names no other.
    """

    runtime: str = "auto"
    threads: int | None = None
    rounds: int = 9
    runs: int = 2
    size: Size = DEFAULT_SIZE
    image: str | None = None
    warm_ups: int = 6

    def __post_init__(self) -> None:
        for name in ("rounds", "runs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}; expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What is measured after the rounds, and whether stale engines are built again.

    `ceilings`: what the CPU reaches in matrix products and copies, for the report's roofline;
    it takes seconds, once for each comparison.
    """

    layers: bool = False
    power: bool = False
    ceilings: bool = True
    rebuild: bool = False


def files_of_folder(folder: Path) -> list[Path]:
    """Return the engines of `folder`, or its ONNX files where there is no engine.

    In the order of the paper's Table 6, others behind. Raises InputError.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}; expected one of benchmarks/paper.py")
    plans = [p for p in folder.iterdir() if p.suffix.lower() in ENGINE_SUFFIXES]
    files = plans or [p for p in folder.iterdir() if p.suffix == ".onnx"]
    files = [p for p in files if not p.name.startswith(".")]
    if not files:
        raise InputError(
            f"{folder} holds no .onnx and no engine; make some with segnet-export --arch NAME, or "
            "python benchmarks/paper.py"
        )
    order = list(TITLES)
    return sorted(files, key=lambda p: (order.index(p.stem) if p.stem in order else 99, p.name))


def compare(
    files: Sequence[Path],
    settings: Settings,
    folder: Path,
    extras: Extras | None = None,
    *,
    fresh: bool = False,
    judge: bool = False,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Measure `files` side by side and return the comparison, which is in `folder` as JSON.

    What an earlier call left there is not measured again, unless `fresh`; its records of other
    files stay in the JSON and are not part of what is returned. A network that fails has its
    `error` said and is tried again by the next call. `judge` adds the verdicts on the paper's
    claims. Raises InputError.
    """
    extras = extras or Extras()
    for file in files:
        if not file.is_file():
            raise InputError(f"no such file: {file}; expected an ONNX file or an engine")
    if len({file.resolve() for file in files}) < len(files):
        raise InputError("one file is given twice; give each once")
    make_folder(folder)
    if fresh:
        (folder / NAME).unlink(missing_ok=True)
    document = Document(folder, {**asdict(settings), "size": list(settings.size)})
    networks = {file: document.record(file, sha256(file)) for file in files}
    runtime = _runtime(settings, document, files)
    request = {**asdict(settings), "runtime": runtime, "rebuild": extras.rebuild}
    _weigh_all(document, networks, progress)
    with crew(request) as workers:
        session = _Session(document, networks, workers, progress)
        session.open_all(judge)
        session.run_rounds(settings)
        session.add_extras(extras)
    measured = [network for network in networks.values() if not network["error"]]
    if extras.ceilings and any(network["device"] == "cpu" for network in measured):
        _add_ceilings(document, progress)
    comparison = document.content | {"networks": list(networks.values())}
    comparison["verdicts"] = verdicts(comparison) if judge else []
    document.content["verdicts"] = comparison["verdicts"]
    document.save()
    return comparison


class _Session:
    """One call's work on the networks; each step that ends is saved."""

    def __init__(
        self,
        document: Document,
        networks: dict[Path, Network],
        workers: Crew,
        progress: Progress,
    ):
        self._document, self._networks = document, networks
        self._workers, self._progress = workers, progress

    def open_all(self, judge: bool) -> None:
        """Load each network that is new, and learn what it takes."""
        for file, network in self._networks.items():
            network["error"] = None
            if "runtime" in network:
                continue
            self._progress(f"{file.name}: loading, warming up")
            self._try(file, partial(self._open, file, network, judge))

    def run_rounds(self, settings: Settings) -> None:
        """Bring each network to its number of rounds, in turns, after a round that is dropped."""
        for file, _ in self._due(settings.rounds, settings.runs):
            self._try(file, partial(self._workers.ask, file, "round", runs=settings.runs))
        for number in range(1, settings.rounds + 1):
            for file, network in self._due(number, settings.runs):
                self._try(file, partial(self._round, file, network, settings))
                self._progress(f"round {number} of {settings.rounds}: {file.name}")
        for file in self._workers.reopened:
            self._networks[file]["reopened"] = True
        for network in self._networks.values():
            if network["samples"]:
                _conclude(network)

    def _due(self, rounds: int, runs: int) -> Iterator[tuple[Path, Network]]:
        """Yield what has fewer rounds, and no error."""
        for file, network in self._networks.items():
            done = len(network["samples"].get("infer", ())) // runs
            if network["error"] is None and done < rounds:
                yield file, network

    def add_extras(self, extras: Extras) -> None:
        """Measure energy and layers, one network after the other."""
        for file, network in self._networks.items():
            known = (network["power"] or {}).get("joules_per_frame")
            if network["error"] is None and extras.power and known is None:
                self._progress(f"{file.name}: energy")
                self._try(file, partial(self._power, file, network))
            if network["error"] is None and extras.layers and network["layers"] is None:
                self._progress(f"{file.name}: layers")
                self._try(file, partial(self._layers, file, network))
            self._workers.close(file)

    def _open(self, file: Path, network: Network, judge: bool) -> None:
        facts = self._workers.open(file)
        known = TITLES.get(facts["network"]) or TITLES.get(file.stem) if judge else None
        network.update(facts, paper=known, name=known or file.stem)
        self._progress(
            f"  {network['name']}: {facts['runtime']}, {facts['form']} form, loaded in "
            f"{facts['load_seconds']:.1f} s"
        )

    def _round(self, file: Path, network: Network, settings: Settings) -> None:
        answer = self._workers.ask(file, "round", runs=settings.runs)
        for part, seconds in answer["samples"].items():
            network["samples"].setdefault(part, []).extend(seconds)
        network.setdefault("clocks", []).append(answer["clocks"])
        if answer["peak_bytes"] and network["peak_bytes"]:
            network["peak_bytes"] = max(network["peak_bytes"], answer["peak_bytes"])
            network["added_bytes"] = added_bytes(network["baseline_bytes"], network["peak_bytes"])

    def _power(self, file: Path, network: Network) -> None:
        network["power"] = self._workers.ask(file, "power")

    def _layers(self, file: Path, network: Network) -> None:
        network |= self._workers.ask(file, "layers")

    def _try(self, file: Path, step: Callable[[], object]) -> None:
        """Do one step and save; a network that fails is left with its error."""
        try:
            step()
        except EngineError as error:
            self._networks[file]["error"] = str(error)
            self._progress(f"error: {error}")
        self._document.save()


def _weigh_all(document: Document, networks: Mapping[Path, Network], progress: Progress) -> None:
    """Learn the work of each new network, in one process that ends before the others start."""
    new = {file: network for file, network in networks.items() if "gmac" not in network}
    if not new:
        return
    weigher = WorkerProcess()
    try:
        for file, network in new.items():
            try:
                network |= weigher.ask("weigh", engine=str(file))
            except EngineError as error:  # opening it says the same, and is recorded
                progress(f"{file.name}: {error}")
    finally:
        weigher.kill()
    document.save()


def _runtime(settings: Settings, document: Document, files: Sequence[Path]) -> str:
    """Return the runtime of every ONNX file: auto is decided once, or ratios would mix runtimes."""
    if settings.runtime != "auto":
        return settings.runtime
    known = [n["runtime"] for n in document.networks if n.get("runtime") in RUNTIMES]
    if known:
        return str(known[0])
    for file in files:
        if is_engine_file(file):
            continue
        chooser = WorkerProcess()
        try:
            return str(chooser.ask("choose", engine=str(file), threads=settings.threads)["runtime"])
        except EngineError:  # opening it says the same, and is recorded
            continue
        finally:
            chooser.kill()
    return "auto"


def _conclude(network: Network) -> None:
    """Put the statistics and their cautions beside the samples."""
    timings = {part: Timing(tuple(values)) for part, values in network["samples"].items()}
    network["seconds"] = {part: timing.summary() for part, timing in timings.items()}
    cautions = noise_warnings(timings["infer"], network.get("settled", True))
    cautions += throttling_warnings(network.get("clocks", []))
    if network.get("reopened"):
        cautions.append(RELOADED)
    network["warnings"] = [{"text": c.text, "advice": c.advice} for c in cautions]


def _add_ceilings(document: Document, progress: Progress) -> None:
    """Measure what this CPU reaches, once."""
    settings = document.content["settings"]
    if settings.get("ceilings"):
        return
    from segnet_deploy.bench.roofline import ceilings

    progress("the machine's ceilings")
    try:
        settings["ceilings"] = ceilings(settings["threads"])
    except EngineError as error:
        progress(str(error))
    document.save()
