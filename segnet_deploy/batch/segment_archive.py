"""Segment an archive, on Ray or in this process, and go on where an earlier run stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segnet_deploy.batch import FORMATS
from segnet_deploy.batch.archive import Shard, digest, find_shards
from segnet_deploy.batch.engine_files import EngineFiles, read_engine
from segnet_deploy.batch.manifest import Manifest, Record
from segnet_deploy.batch.run_local import open_segmenter, run_local
from segnet_deploy.batch.storage import absolute, plain, storage_of
from segnet_deploy.batch.worker import Task
from segnet_deploy.errors import InputError
from segnet_deploy.optional import available, require
from segnet_deploy.progress import Progress, silent
from segnet_deploy.runtimes.base import is_engine_file
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.system.cpus import default_threads


@dataclass(frozen=True)
class BatchOptions:
    """How `segment_archive` works.

    `form`, of the output, is parquet, png or webdataset; without `with_labels` it has histograms
    only. `workers` use `threads` CPU threads and `gpus` GPUs each (None: this machine's CPUs are
    shared among them); `batch` is frames per call of the engine, `shard_size` images per shard.
    `address` is that of a running Ray cluster. `use_ray` None uses Ray if it is installed;
    False, this process, as one worker. `image_column` is that of Parquet inputs.
    """

    form: str = "parquet"
    with_labels: bool = True
    workers: int = 1
    threads: int | None = None
    gpus: float = 0
    batch: int = 1
    shard_size: int = 256
    runtime: str = "auto"
    fit: str = "stretch"
    image_column: str = "image"
    address: str | None = None
    use_ray: bool | None = None

    @property
    def on_ray(self) -> bool:
        """Whether Ray is used."""
        return available("ray") if self.use_ray is None else self.use_ray


@dataclass(frozen=True)
class BatchResult:
    """What an archive contains now: frames segmented and inputs that could not be read.

    `shards` were completed by this call, `skipped` by earlier ones; `seconds` is this call's time.
    """

    frames: int
    shards: int
    skipped: int
    errors: tuple[str, ...]
    seconds: float


def segment_archive(
    engine: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    options: BatchOptions | None = None,
    *,
    progress: Progress = silent,
) -> BatchResult:
    """Segment images, videos, tars and Parquet files into a folder, each input exactly once.

    Everything is a path, or a URI that pyarrow opens. A call that was interrupted goes on when it
    is repeated. Inputs that cannot be read are listed in errors.csv and in the result.

    Raises InputError (no such input, results of another run in `output`), UnsupportedModelError,
    MissingDependencyError or EngineError.

    >>> done = segment_archive(
    ...     "segnet.onnx", ["data/images"], "out", BatchOptions(form="png", use_ray=False)
    ... )
    >>> done.frames, done.shards, done.errors
    (3, 1, ())
    """
    options = options or BatchOptions()
    _check(options)
    began = time.monotonic()
    shards = find_shards(inputs, options.shard_size, progress)
    files, folder = read_engine(engine), absolute(output)
    check_output(folder, inputs)
    manifest = Manifest(folder)
    task = make_task(files, folder, options, manifest.read_settings())
    manifest.begin(_settings(task, shards, options))
    records = manifest.finished(shards)
    if skipped := len(records):
        progress(f"{skipped} of {len(shards)} shards were completed before")
    todo = [shard for shard in shards if shard.number not in records]
    progress("shards", skipped, len(shards))
    for record in _run(files, todo, task, options, progress):
        records[record.shard] = record
        for _, _, reason in record.errors:
            progress(f"error: {reason}")
        progress("shards", len(records), len(shards))
    done = [records[shard.number] for shard in shards]
    manifest.finish(done)
    return BatchResult(
        sum(record.frames for record in done),
        len(todo),
        skipped,
        tuple(error[2] for record in done for error in record.errors),
        time.monotonic() - began,
    )


def check_output(folder: str, inputs: Sequence[str | os.PathLike[str]]) -> None:
    """Raise InputError if the output is a file, or a folder of inputs."""
    if storage_of(folder).kind(folder) == "file":
        raise InputError(f"-o {plain(folder)} is a file; expected a folder")
    if any(absolute(given).rstrip("/") == folder.rstrip("/") for given in inputs):
        raise InputError(
            f"-o {plain(folder)} is also an input, so the next run would segment its own results; "
            "choose another folder"
        )


def threads_per_worker(options: BatchOptions) -> int:
    """Return the CPU threads of each worker."""
    return options.threads or max(1, default_threads() // options.workers)


def make_task(
    engine: EngineFiles, output: str, options: BatchOptions, earlier: dict[str, Any] | None = None
) -> Task:
    """Return what workers need; `auto` becomes one runtime, so that all workers use the same.

    `earlier` are the settings of the run that is continued. Raises what `load` raises.
    """
    task = Task(
        output,
        engine.sha256,
        options.runtime,
        threads_per_worker(options),
        options.fit,
        options.batch,
        options.form,
        options.with_labels,
        options.image_column,
    )
    if is_engine_file(engine.name):  # for a GPU that this machine may not have
        return task
    with engine.unpacked() as path:
        ModelFile.read(path)
    if options.runtime != "auto":
        return task
    if earlier and earlier.get("engine") == engine.sha256:
        return replace(task, runtime=earlier["runtime"])
    with open_segmenter(engine, task) as segmenter:
        return replace(task, runtime=segmenter.engine.name)


def _run(
    engine: EngineFiles,
    shards: Sequence[Shard],
    task: Task,
    options: BatchOptions,
    progress: Progress,
) -> Iterator[Record]:
    if not shards:
        return iter(())
    if not options.on_ray:
        return run_local(engine, shards, task)
    from segnet_deploy.batch.run_ray import run_on_ray

    return run_on_ray(
        engine,
        shards,
        task,
        workers=options.workers,
        gpus=options.gpus,
        address=options.address,
        progress=progress,
    )


def _settings(task: Task, shards: Sequence[Shard], options: BatchOptions) -> dict[str, Any]:
    """Return what has to stay the same in a run that goes on."""
    return {
        "engine": task.engine,
        "runtime": task.runtime,
        "fit": task.fit,
        "batch": task.batch,
        "format": task.form,
        "with_labels": task.with_labels,
        "image_column": task.image_column,
        "shard_size": options.shard_size,
        "inputs": f"{digest(shards)[:16]} ({len(shards)} shards)",
    }


def _check(options: BatchOptions) -> None:
    """Raise InputError or MissingDependencyError for options that do not fit together."""
    if options.form not in FORMATS:
        raise InputError(f"format {options.form!r}; expected {', '.join(FORMATS)}")
    for name in ("workers", "batch", "shard_size"):
        if getattr(options, name) < 1:
            raise InputError(f"{name} {getattr(options, name)}; expected 1 or more")
    if options.form == "png" and not options.with_labels:
        raise InputError("label PNGs without labels would be nothing; choose another format")
    if options.form == "parquet":
        require("pyarrow", extra="batch")
    if options.on_ray:
        require("ray", extra="ray")
    elif options.workers > 1 or options.address or options.gpus:
        raise InputError(
            "several workers, GPUs per worker and the address of a cluster need Ray; install it "
            'with: pip install "segnet-deploy[ray]"'
        )
