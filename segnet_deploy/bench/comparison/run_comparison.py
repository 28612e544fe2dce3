"""Compare networks: the whole sequence, and what is measured once for all of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segnet_deploy.bench.comparison.claims import judge_claims
from segnet_deploy.bench.comparison.document import FILE_NAME, Document
from segnet_deploy.bench.comparison.network_files import check_files
from segnet_deploy.bench.comparison.process_pool import ProcessPool, start_worker
from segnet_deploy.bench.comparison.session import Session
from segnet_deploy.bench.comparison.settings import ComparisonExtras, ComparisonSettings
from segnet_deploy.bench.result import Comparison
from segnet_deploy.bench.roofline import measure_ceilings
from segnet_deploy.errors import EngineError
from segnet_deploy.files import make_folder, sha256
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.base import RUNTIMES, is_engine_file


def compare(
    files: Sequence[str | os.PathLike[str]],
    settings: ComparisonSettings,
    folder: str | os.PathLike[str],
    extras: ComparisonExtras | None = None,
    *,
    fresh: bool = False,
    judge: bool = False,
    progress: Progress = silent,
) -> Comparison:
    """Measure ONNX files or engines in interleaved rounds; save and return the comparison.

    It is saved in `folder`/comparison.json after each step. A second call measures only what
    is missing there, unless `fresh`; results of other files stay in the JSON and are not
    returned. A network that fails gets an `error`, and the next call tries it again. `judge`
    names the networks as the SegNet paper does and adds the verdicts on its claims.

    Raises InputError for a file that is missing or given twice, a folder that cannot be
    written, and an earlier comparison with other settings, versions or machine.

    >>> settings = ComparisonSettings("onnxruntime", threads=2, rounds=2)
    >>> files = ["segnet.onnx", "lowered.onnx"]
    >>> comparison = compare(files, settings, "out", ComparisonExtras(ceilings=False))
    >>> [(network.engine, network.error) for network in comparison.networks]
    [('segnet.onnx', None), ('lowered.onnx', None)]
    """
    paths, folder = [Path(file) for file in files], Path(folder)
    extras = extras or ComparisonExtras()
    check_files(paths)
    make_folder(folder)
    if fresh:
        (folder / FILE_NAME).unlink(missing_ok=True)
    document = Document(folder, settings)
    networks = {file: document.network(file, sha256(file)) for file in paths}
    runtime = _choose_runtime(settings, document, paths, progress)
    with ProcessPool(settings.open_arguments(runtime, extras.rebuild), progress) as pool:
        session = Session(document, networks, pool, progress)
        session.add_costs()
        session.open_all(judge)
        session.run_rounds(settings)
        session.measure_extras(extras)
    measured = [network for network in networks.values() if not network.error]
    if extras.ceilings and any(network.device == "cpu" for network in measured):
        _add_ceilings(document, progress)
    comparison = replace(document.comparison, networks=list(networks.values()))
    comparison.verdicts = judge_claims(comparison) if judge else []
    document.comparison.verdicts = comparison.verdicts
    document.save()
    return comparison


def _choose_runtime(
    settings: ComparisonSettings, document: Document, files: Sequence[Path], progress: Progress
) -> str:
    """Return the runtime of all ONNX files: auto is decided once, so that ratios share it."""
    if settings.runtime != "auto":
        return settings.runtime
    for network in document.networks:
        if network.runtime in RUNTIMES:
            return network.runtime
    for file in files:
        if is_engine_file(file):
            continue
        with start_worker() as child:
            try:
                answer = child.ask(
                    "choose", engine=str(file), threads=settings.threads, progress=progress
                )
                return str(answer["runtime"])
            except EngineError:  # opening the file fails in the same way, and is recorded
                continue
    return "auto"


def _add_ceilings(document: Document, progress: Progress) -> None:
    """Measure the ceilings of this CPU, unless the document has them."""
    settings = document.comparison.settings
    if settings.get("ceilings"):
        return
    progress("measuring the machine's ceilings")
    try:
        settings["ceilings"] = measure_ceilings(settings["threads"])
    except EngineError as error:
        progress(str(error))
    document.save()
