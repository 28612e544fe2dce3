"""The order of measurements: time first, and accuracy only of what could still be chosen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segnet_deploy.errors import EngineError, InputError, SegNetError
from segnet_deploy.progress import Progress
from segnet_deploy.runtimes.loader import installed
from segnet_deploy.system.child_process import ChildProcess
from segnet_deploy.tuning.choice import over_budget, over_memory
from segnet_deploy.tuning.result import Candidate, Document
from segnet_deploy.tuning.settings import TuneSettings
from segnet_deploy.tuning.time_left import JUDGEMENTS, TimeLeft
from segnet_deploy.tuning.variants import (
    ENGINES,
    FP32,
    HALVES,
    INT8,
    Variant,
    has_gpu_builder,
    make_variant,
)

WORKER = "segnet_deploy.tuning.candidate_worker"
NEAR = 1.2  # candidates up to this ratio of the fastest may still be chosen
SCREEN_RUNS, ROUNDS, RUNS = 5, 9, 3
FINALISTS = 4  # that are open at once
WARM_UPS = 5
SLOWER = "slower than the choice; accuracy not measured"


class Race:
    """Measures the candidates of `source`, an fp32 file, and saves after each step.

    Files are made in `folder`. `images` are paths; `labels` their label files, or None.
    """

    def __init__(
        self,
        document: Document,
        source: Path,
        folder: Path,
        settings: TuneSettings,
        images: Sequence[str],
        labels: Sequence[str] | None,
        progress: Progress,
    ):
        self._document, self._result = document, document.result
        self._source, self._folder, self._settings = source, folder, settings
        self._images, self._labels, self._progress = images, labels, progress
        self._runtimes = [n for n in installed() if n in (settings.runtimes or (n,))]
        self._done, self._planned = 0, 0
        self._left = TimeLeft(len(images))

    def run(self) -> Candidate:
        """Measure, and return the choice. Raises InputError if the budget permits none."""
        variants = [FP32, *HALVES, *self._int8()[: None if self._settings.exhaustive else 1]]
        variants += ENGINES if has_gpu_builder() else ()
        candidates = len(variants) * len(self._runtimes)
        self._left.judgements = candidates if self._settings.exhaustive else JUDGEMENTS
        self._planned = len(variants) + candidates + self._left.judgements + 1
        for variant in variants:
            self._add(variant)
        reference = self._reference()
        self._judge(reference)
        self._judge_rivals(reference)
        finalists = self._eligible(reference)
        if not finalists:
            least = min(c.peak_bytes or 0 for c in self._result.candidates if c.measured)
            raise InputError(
                f"no candidate fits the memory limit; the least is {least / 1e6:.0f} MB: allow "
                "more, or export a smaller --imgsz"
            )
        self._run_final(finalists, reference)
        fits = [reference] if not over_memory(reference, self._settings) else []
        return min([*finalists, *fits], key=lambda candidate: candidate.seconds)

    def _add(self, variant: Variant) -> None:
        """Make a variant, unless an earlier call did, and time it in every runtime."""
        if variant.name not in self._result.variants:
            self._step(f"{variant.name}: making the file")
            try:
                make_variant(variant, self._source, self._folder, self._settings, self._progress)
            except SegNetError as error:
                if variant == FP32:
                    raise
                self._result.notes.append(f"{variant.name}: {error}")
            self._result.variants.append(variant.name)
            self._document.save()
        path = self._folder / variant.file
        if not path.is_file():
            return
        for runtime in ["tensorrt"] if variant.engine else self._runtimes:
            candidate = Candidate(
                variant=variant.name,
                precision=variant.precision,
                file=variant.file,
                runtime=runtime,
                model_bytes=path.stat().st_size,
            )
            if self._result.find(candidate.name) is None:
                self._screen(candidate)
                self._result.candidates.append(candidate)
                self._document.save()

    def _screen(self, candidate: Candidate) -> None:
        self._step(f"{candidate.name}: time and memory")
        try:
            with ChildProcess(WORKER) as child:
                candidate.load_seconds = self._open(child, candidate)["load_seconds"]
                candidate.computed = child.ask("arithmetic")["computed"]
                answer = child.ask("round", runs=SCREEN_RUNS)
        except EngineError as error:
            candidate.error = str(error)
            return
        candidate.screened = answer["samples"]["infer"]
        candidate.peak_bytes = answer["peak_bytes"]
        candidate.note = over_memory(candidate, self._settings)

    def _reference(self) -> Candidate:
        """Return fp32 in its fastest runtime, which the others are compared with."""
        found = [c for c in self._result.candidates if c.variant == FP32.name and c.measured]
        if not found:
            errors = "; ".join(c.error or "" for c in self._result.candidates)
            raise EngineError(f"no runtime runs the fp32 file: {errors}")
        known = self._result.find(self._result.reference)
        reference = known or min(found, key=lambda candidate: candidate.seconds)
        self._result.reference = reference.name
        return reference

    def _judge_rivals(self, reference: Candidate) -> None:
        """Judge the fastest first, until none that is left could be chosen."""
        while True:
            eligible = self._eligible(reference)
            limit = NEAR * min((c.seconds for c in eligible), default=float("inf"))
            unknown = [
                c for c in self._result.candidates if c.measured and not c.judged and not c.note
            ]
            rival = min(unknown, key=lambda candidate: candidate.seconds, default=None)
            if rival is None or (rival.seconds > limit and not self._settings.exhaustive):
                break
            self._judge(rival)
            rival.note = over_budget(rival, reference, self._settings)
            self._document.save()
            if rival.note:
                self._progress(f"{rival.name}: {rival.note}")
                if rival.precision == "int8":
                    self._add_next_int8()
        for candidate in unknown:
            candidate.note = SLOWER
        self._document.save()

    def _add_next_int8(self) -> None:
        """Add the next calibration, once the one before has failed in a runtime."""
        new = [v for v in self._int8() if v.name not in self._result.variants]
        for variant in new[:1]:
            self._add(variant)

    def _int8(self) -> list[Variant]:
        """Return the INT8 variants that the given images permit, in the order of trying."""
        if self._settings.calibration is None:
            return []
        return [variant for variant in INT8 if self._settings.data or not variant.mixed]

    def _eligible(self, reference: Candidate) -> list[Candidate]:
        """Return the judged candidates within the budget that are near the fastest of them.

        All of them if the search is exhaustive.
        """
        found = [c for c in self._result.candidates if c.measured and c.judged]
        found = [
            c
            for c in found
            if not over_memory(c, self._settings) and not over_budget(c, reference, self._settings)
        ]
        if self._settings.exhaustive:
            return found
        limit = NEAR * min((c.seconds for c in found), default=0.0)
        near = [c for c in found if c.seconds <= limit]
        return sorted(near, key=lambda candidate: candidate.seconds)[:FINALISTS]

    def _judge(self, candidate: Candidate) -> None:
        """Measure accuracy, once; a candidate that fails is left out."""
        if candidate.judged:
            return
        self._step(f"{candidate.name}: accuracy on {len(self._images)} frames", judges=True)
        reference = candidate.name == self._result.reference
        try:
            with ChildProcess(WORKER) as child:
                self._open(child, candidate)
                answer = child.ask(
                    "judge",
                    progress=self._progress,
                    images=list(self._images),
                    labels=None if self._labels is None else list(self._labels),
                    layout=self._settings.layout,
                    folder=str(self._folder),
                    reference=reference,
                )
        except EngineError as error:
            if reference:
                raise
            candidate.error = str(error)
            return
        candidate.agreement = answer["agreement"]
        candidate.mean_iou, candidate.classes = answer.get("mean_iou"), answer.get("classes", {})
        self._document.save()

    def _run_final(self, finalists: Sequence[Candidate], reference: Candidate) -> None:
        """Time the finalists and the reference in turns, all open at once."""
        runners = {c.name: c for c in (*finalists, reference)}
        if all(c.samples for c in runners.values()):
            return
        self._step(f"last rounds: {', '.join(runners)}")
        samples: dict[str, list[float]] = {name: [] for name in runners}
        with contextlib.ExitStack() as stack:
            children = {}
            for name, candidate in runners.items():
                children[name] = stack.enter_context(ChildProcess(WORKER))
                self._open(children[name], candidate)
            for number in range(ROUNDS):
                self._progress("last rounds", number, ROUNDS)
                for name, child in children.items():
                    samples[name] += child.ask("round", runs=RUNS)["samples"]["infer"]
            self._progress("last rounds", ROUNDS, ROUNDS)
        for name, candidate in runners.items():  # only complete rounds are saved
            candidate.samples = samples[name]
        self._document.save()

    def _open(self, child: ChildProcess, candidate: Candidate) -> dict[str, Any]:
        engine = candidate.file.endswith(".trt")
        answer: dict[str, Any] = child.ask(
            "open",
            engine=str(self._folder / candidate.file),
            runtime="auto" if engine else candidate.runtime,
            threads=self._settings.threads,
            rebuild=False,
            image=self._images[0],
            size=(0, 0),
            warm_ups=WARM_UPS,
        )
        return answer

    def _step(self, text: str, judges: bool = False) -> None:
        """Report a step, with the time that is left once that can be told."""
        self._left.start_step(time.monotonic(), judges)
        short = max(0, self._planned - self._done - self._left.coming)
        seconds = self._left.estimate(short, self._reference_seconds())
        left = f", about {max(1, round(seconds / 60))} min left" if seconds is not None else ""
        self._done += 1
        self._planned = max(self._planned, self._done)
        self._progress(f"step {self._done} of about {self._planned}{left}: {text}")

    def _reference_seconds(self) -> float | None:
        """Return the time per frame of the fp32 file in its fastest runtime so far, if any."""
        found = [c for c in self._result.candidates if c.variant == FP32.name and c.measured]
        return min((c.seconds for c in found), default=None)
