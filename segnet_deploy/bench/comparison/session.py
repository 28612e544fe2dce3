"""The steps of one comparison: open each network, time them in turns, then the extras."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from segnet_deploy.bench.comparison.document import Document
from segnet_deploy.bench.comparison.process_pool import ProcessPool, start_worker
from segnet_deploy.bench.comparison.settings import ComparisonExtras, ComparisonSettings
from segnet_deploy.bench.paper import TITLES
from segnet_deploy.bench.result import NetworkResult
from segnet_deploy.bench.timing import Timing
from segnet_deploy.bench.warnings import RELOADED, noise_warnings, throttling_warnings
from segnet_deploy.errors import EngineError
from segnet_deploy.progress import Progress
from segnet_deploy.runtimes.base import is_engine_file
from segnet_deploy.system.power import Energy

ROUNDS_TITLE = "measuring in rounds"


class Session:
    """Measures `networks`, by file, in the processes of `pool`; saves after each step."""

    def __init__(
        self,
        document: Document,
        networks: dict[Path, NetworkResult],
        pool: ProcessPool,
        progress: Progress,
    ):
        self._document, self._networks = document, networks
        self._pool, self._progress = pool, progress

    def add_costs(self) -> None:
        """Add the cost of each new graph, in one process that ends before the others start."""
        new = [
            (file, network)
            for file, network in self._networks.items()
            if network.gmac is None and not is_engine_file(file)
        ]
        if not new:
            return
        with start_worker() as child:
            for file, network in new:
                try:
                    network.update(**child.ask("cost", engine=str(file)))
                except EngineError as error:  # opening the file fails too, and is recorded
                    self._progress(f"{file.name}: {error}")
        self._document.save()

    def open_all(self, judge: bool) -> None:
        """Load each network that is new, and record its runtime and memory."""
        for file, network in self._networks.items():
            network.error = None
            if network.runtime is None:
                self._progress(f"{file.name}: loading, warming up")
                self._try(file, partial(self._open, file, network, judge))

    def run_rounds(self, settings: ComparisonSettings) -> None:
        """Complete the rounds of each network, in turns, after a discarded warm-up round."""
        remaining = {file: self._remaining(file, settings) for file in self._networks}
        for file in self._networks:
            if remaining[file]:
                self._try(file, partial(self._pool.ask, file, "round", runs=settings.runs))
        total, done = sum(remaining.values()), 0
        if total:
            self._progress(ROUNDS_TITLE, done, total)
        for number in range(settings.rounds):
            for file, network in self._networks.items():
                if number < settings.rounds - remaining[file]:
                    continue
                if network.error is None:
                    self._try(file, partial(self._round, file, network, settings.runs))
                done += 1
                self._progress(ROUNDS_TITLE, done, total)
        for file in self._pool.reopened:
            self._networks[file].reopened = True
        for network in self._networks.values():
            if network.samples:
                _summarize(network)

    def measure_extras(self, extras: ComparisonExtras) -> None:
        """Measure energy and layers, one network after the other, and end its process."""
        for file, network in self._networks.items():
            known = network.power and network.power.joules_per_frame is not None
            if network.error is None and extras.power and not known:
                self._progress(f"{file.name}: energy")
                self._try(file, partial(self._power, file, network))
            if network.error is None and extras.layers and network.layers is None:
                self._progress(f"{file.name}: layers")
                self._try(file, partial(self._layers, file, network))
            self._pool.close(file)

    def _remaining(self, file: Path, settings: ComparisonSettings) -> int:
        """Return how many rounds a network lacks; none if it failed."""
        network = self._networks[file]
        if network.error is not None:
            return 0
        return max(0, settings.rounds - len(network.samples.get("infer", ())) // settings.runs)

    def _open(self, file: Path, network: NetworkResult, judge: bool) -> None:
        answer = self._pool.open(file)
        paper = TITLES.get(answer["network"]) or TITLES.get(file.stem) if judge else None
        network.update(**answer, paper=paper, name=paper or file.stem)
        self._progress(
            f"  {network.name}: {network.runtime}, {network.form} form, loaded in "
            f"{network.load_seconds:.1f} s"
        )

    def _round(self, file: Path, network: NetworkResult, runs: int) -> None:
        answer: dict[str, Any] = self._pool.ask(file, "round", runs=runs)
        for stage, seconds in answer["samples"].items():
            network.samples.setdefault(stage, []).extend(seconds)
        network.clocks.append(answer["clocks"])
        if answer["peak_bytes"] and network.peak_bytes:
            network.peak_bytes = max(network.peak_bytes, answer["peak_bytes"])

    def _power(self, file: Path, network: NetworkResult) -> None:
        network.power = Energy(**self._pool.ask(file, "power"))

    def _layers(self, file: Path, network: NetworkResult) -> None:
        network.update(**self._pool.ask(file, "layers"))

    def _try(self, file: Path, step: Callable[[], object]) -> None:
        """Do one step and save; record the error of a network that fails."""
        try:
            step()
        except EngineError as error:
            self._networks[file].error = str(error)
            self._progress(f"error: {error}")
        self._document.save()


def _summarize(network: NetworkResult) -> None:
    """Add the statistics of the samples, and the warnings about them."""
    timings = {stage: Timing(tuple(samples)) for stage, samples in network.samples.items()}
    network.seconds = {stage: timing.summary() for stage, timing in timings.items()}
    network.warnings = noise_warnings(timings["infer"], network.settled)
    network.warnings += throttling_warnings(network.clocks)
    if network.reopened:
        network.warnings.append(RELOADED)
