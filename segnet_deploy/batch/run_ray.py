"""Run shards on Ray Data: workers are actors that open the engine once; Ray retries what dies."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import pickle
import socket
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from segnet_deploy import errors
from segnet_deploy.batch.archive import Shard
from segnet_deploy.batch.engine_files import EngineFiles
from segnet_deploy.batch.manifest import Record
from segnet_deploy.batch.run_local import open_segmenter
from segnet_deploy.batch.worker import Task, segment_shard
from segnet_deploy.errors import EngineError, InputError, SegNetError
from segnet_deploy.optional import require
from segnet_deploy.progress import Progress

_RETRIES = 10  # of a shard whose worker died; those that wait for it count too
_ANSWER = 10.0  # s for a cluster to answer
_OBJECT_STORE = 256 << 20  # bytes, beside the engine: only shards and records are in it


def run_on_ray(
    engine: EngineFiles,
    shards: Sequence[Shard],
    task: Task,
    *,
    workers: int,
    gpus: float,
    address: str | None,
    progress: Progress,
) -> Iterator[Record]:
    """Yield the record of each shard, as they are completed.

    `workers` actors with `task.threads` CPUs and `gpus` GPUs each, on the cluster at `address`,
    or on a local one that ends with the call. Raises MissingDependencyError, InputError (no such
    cluster, an output that cannot be written) or EngineError (an engine that no worker can open,
    a shard that ends its workers).
    """
    ray: Any = require("ray", extra="ray")
    data: Any = require("ray.data", extra="ray")
    cpus = task.threads or 1
    size = sum(len(content) for _, content in engine.files)
    with _cluster(ray, address, workers * cpus, size), _translated():
        _check_resources(ray, address, workers, cpus, gpus, progress)
        data.DataContext.get_current().enable_progress_bars = False
        reference = ray.put(engine)
        items = [{"shard": pickle.dumps(shard)} for shard in shards]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray 2.64 will drop _RETRIES; then it has no limit
            rows = data.from_items(items, override_num_blocks=len(items)).map(
                ShardActor,
                fn_constructor_args=[[reference], task],  # in a list, so that Ray passes it unread
                concurrency=workers,
                num_cpus=cpus,
                num_gpus=gpus or None,
                **_retries(data),
            )
        for row in rows.iter_rows():
            if row["error"]:
                raise getattr(errors, row["kind"], EngineError)(row["error"])
            yield Record(**json.loads(row["record"]))


class ShardActor:
    """A worker: opens the engine once, then segments shards.

    Errors of this project are returned, since Ray would wrap each in a traceback and repeat an
    engine that does not open once per worker.
    """

    def __init__(self, reference: list[Any], task: Task):
        ray: Any = require("ray", extra="ray")
        self._task = task
        self._error: SegNetError | None = None
        try:
            self._segmenter = open_segmenter(ray.get(reference[0]), task)
        except SegNetError as error:
            self._error = error

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        """Segment a shard; return its record as JSON, or the kind and text of an error."""
        try:
            if self._error is not None:
                raise self._error
            record = segment_shard(self._segmenter, pickle.loads(row["shard"]), self._task)
        except SegNetError as error:
            return {"record": "", "kind": type(error).__name__, "error": str(error)}
        return {"record": json.dumps(asdict(record)), "kind": "", "error": ""}


@contextlib.contextmanager
def _cluster(ray: Any, address: str | None, cpus: int, engine_bytes: int) -> Iterator[None]:
    """Connect to the cluster at `address`, or start a local one, which ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to Ray's authors
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    settings: dict[str, Any] = {"address": address}
    if address is None:
        # "local": not a cluster that happens to run here.
        store = _OBJECT_STORE + 2 * engine_bytes
        settings = {"address": "local", "num_cpus": cpus, "object_store_memory": store}
        settings["include_dashboard"] = False
    else:
        _check_address(address)
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **settings)
    except Exception as error:  # Ray raises many types
        where = f"to the Ray cluster at {address}" if address else "to a local Ray cluster"
        raise InputError(
            f"cannot connect {where}: {_first_line(error)}; check --address with: ray status, and "
            "RAY_AUTH_TOKEN if the cluster asks for a token"
        ) from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise InputError if nothing answers at HOST:PORT: Ray would wait for very long."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if address == "auto":
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot connect to the Ray cluster at {address}: {error}; expected HOST:PORT as "
            "`ray status` shows it"
        ) from error


def _check_resources(
    ray: Any, address: str | None, workers: int, cpus: int, gpus: float, progress: Progress
) -> None:
    """Raise InputError if no worker ever fits a local cluster; warn on one that may grow."""
    have = ray.cluster_resources()
    want = {"CPU": cpus, "GPU": gpus}
    for name, each in want.items():
        if each * workers <= have.get(name, 0):
            continue
        missing = (
            f"{workers} workers with {each:g} {name} each need {each * workers:g}, but the cluster "
            f"has {have.get(name, 0):g}"
        )
        if address is None and each > have.get(name, 0):
            raise InputError(f"{missing}; use fewer with --workers or --{name.lower()}s-per-worker")
        progress(f"warning: {missing}; the others wait until it grows")


def _retries(data: Any) -> dict[str, Any]:
    """Return the options of `Dataset.map` that limit how often a shard is tried, if it has any."""
    takes_more = "ray_remote_args" in inspect.signature(data.Dataset.map).parameters
    return {"max_task_retries": _RETRIES, "max_restarts": -1} if takes_more else {}


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise Ray's own errors as EngineError."""
    try:
        yield
    except (SegNetError, GeneratorExit):
        raise
    except Exception as error:
        cause = error
        while isinstance(cause.__cause__, Exception) and str(cause.__cause__).strip():
            cause = cause.__cause__
        raise EngineError(
            f"Ray stopped: {_first_line(cause)}; run the same command again to go on"
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
