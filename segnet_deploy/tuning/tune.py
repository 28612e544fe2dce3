"""Find the fastest file and runtime for this device within a budget, and write it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from segnet_deploy.accuracy.datasets import find_examples
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.files import atomic_path, atomic_write, make_folder, sha256
from segnet_deploy.frames import find_inputs, is_video, spread
from segnet_deploy.passes.to_precision import precision_of
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.loader import check_installed
from segnet_deploy.runtimes.model_file import load_model, save_model
from segnet_deploy.runtimes.tuned_choice import TunedChoice
from segnet_deploy.tuning.race import Race
from segnet_deploy.tuning.report import format_page
from segnet_deploy.tuning.result import FILE_NAME, Candidate, Document, TuneResult
from segnet_deploy.tuning.settings import TuneSettings

CANDIDATES = "candidates"  # the folder of the files that are tried


def tune(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    settings: TuneSettings,
    *,
    fresh: bool = False,
    progress: Progress = silent,
) -> TuneResult:
    """Write the fastest file of `source`, an fp32 ONNX file, that the budget permits to `folder`.

    Precisions, calibrations and runtimes are tried; each is timed, and judged in the runtime that
    will run it while it could still be chosen. `folder` gets segnet.onnx (or segnet.trt), which
    records its runtime for `load(..., runtime="auto")`, report.html, tune.json, and the tried
    files in candidates/. An interrupted call goes on from there; `fresh` starts again.

    Raises InputError, UnsupportedModelError or EngineError.

    >>> settings = TuneSettings(data="data", runtimes=("onnxruntime",), min_agreement=0.5)
    >>> result = tune("segnet.onnx", "tuned", settings)
    >>> result.find(result.chosen).runtime
    'onnxruntime'
    """
    source, folder = Path(source), Path(folder)
    started = time.monotonic()
    check_installed(settings.runtimes)
    if (precision := precision_of(load_model(source))) != "fp32":
        raise UnsupportedModelError(f"{source} is in {precision}; start from the fp32 file")
    if fresh:
        shutil.rmtree(folder / CANDIDATES, ignore_errors=True)
        (folder / FILE_NAME).unlink(missing_ok=True)
    make_folder(folder / CANDIDATES)
    document = Document(folder, str(source), sha256(source), settings)
    result = document.result
    images, labels = _images(settings, progress)
    result.frames = len(images)
    race = Race(document, source, folder / CANDIDATES, settings, images, labels, progress)
    try:
        chosen = race.run()
    finally:
        result.seconds += time.monotonic() - started
        document.save()
    result.chosen, result.file = chosen.name, _write_choice(chosen, folder, result).name
    document.save()
    atomic_write(folder / "report.html", format_page(result).encode())
    return result


def _images(settings: TuneSettings, progress: Progress) -> tuple[list[str], list[str] | None]:
    """Return the images to judge on and their label files, or None without labels."""
    if settings.data is not None:
        examples = find_examples(Path(settings.data), settings.layout, settings.split, progress)
        chosen = spread(examples, settings.frames)
        return [str(e.image) for e in chosen], [str(e.labels) for e in chosen]
    assert settings.calibration is not None
    paths = [p for p in find_inputs([settings.calibration]) if not is_video(p)]
    calibrating = set(spread(paths, settings.calibration_frames))
    others = [path for path in paths if path not in calibrating]
    if not others:
        progress(
            "warning: every image calibrates, so the files are judged on the same images; give "
            "more images, or fewer --calib-frames"
        )
    if not paths:
        raise InputError(f"{settings.calibration} contains no images")
    return [str(path) for path in spread(others or paths, settings.frames)], None


def _write_choice(chosen: Candidate, folder: Path, result: TuneResult) -> Path:
    """Write the chosen file with a record of the choice; return its path."""
    source = folder / CANDIDATES / chosen.file
    target = folder / f"segnet{source.suffix}"
    if source.suffix == ".trt":
        for end in ("", ".json"):
            with atomic_path(f"{target}{end}") as temporary:
                shutil.copyfile(f"{source}{end}", temporary)
        return target
    machine, threads = result.machine, result.settings.get("threads")
    choice = TunedChoice(
        chosen.runtime,
        threads,
        chosen.precision,
        *(machine[name] for name in ("processor", "architecture", "cpus")),
    )
    model = load_model(source)
    model.metadata_props.update(choice.to_props())
    with atomic_path(target) as temporary:
        save_model(model, temporary)
    return target
