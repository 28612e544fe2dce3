"""How many inputs an archive has, and how long it would take, from a measured sample."""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from segnet_deploy.batch.archive import Shard, find_shards
from segnet_deploy.batch.engine_files import read_engine
from segnet_deploy.batch.items import TAR_ERRORS, image_members, read_items
from segnet_deploy.batch.run_local import open_segmenter
from segnet_deploy.batch.segment_archive import BatchOptions, make_task
from segnet_deploy.batch.storage import storage_of
from segnet_deploy.batch.worker import Task, batches, label_items
from segnet_deploy.errors import InputError, UnreadableInputError
from segnet_deploy.frames import encode_png, open_video, spread
from segnet_deploy.progress import Progress, silent
from segnet_deploy.segmenter import Segmenter

_SAMPLE_SHARDS, _SAMPLE_CALLS = 4, 4
_COUNTED_FILES = 4  # videos and tars each; the others are taken to be like these, by bytes


@dataclass(frozen=True)
class Estimate:
    """Inputs of an archive and the time for them.

    `is_exact` is False if the number of inputs in videos or tars was estimated from a part of them.
    `seconds_per_frame` are quartiles of the sample, with reading and encoding.
    """

    inputs: int
    is_exact: bool
    shards: int
    sample: int
    seconds_per_frame: tuple[float, float, float]
    workers: int

    @property
    def seconds(self) -> float:
        """The time for all inputs with all workers."""
        return self.inputs * self.seconds_per_frame[1] / self.workers


def estimate(
    engine: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]],
    options: BatchOptions | None = None,
    *,
    progress: Progress = silent,
) -> Estimate:
    """Count the inputs, and segment a few of them in this process; nothing is written.

    Raises what `segment_archive` raises, and InputError if none of the sample can be read.
    """
    options = options or BatchOptions()
    shards = find_shards(inputs, options.shard_size, progress)
    files = read_engine(engine)
    task = make_task(files, "", options)
    count, is_exact = count_inputs(shards)
    took: list[float] = []
    with open_segmenter(files, task) as segmenter:
        for shard in spread(shards, _SAMPLE_SHARDS):
            took += _measure(segmenter, shard, task, warm_up=not took)
    if not took:
        raise InputError("no input of the sample can be read; look at them with segnet-predict")
    low, middle, high = statistics.quantiles(took, n=4) if len(took) > 1 else took * 3
    return Estimate(count, is_exact, len(shards), len(took), (low, middle, high), options.workers)


def count_inputs(shards: Sequence[Shard]) -> tuple[int, bool]:
    """Return the number of inputs, and whether it is exact.

    Of many videos and tars only a few are counted, and the others are estimated by their bytes.
    """
    total = sum(len(shard.paths) for shard in shards if shard.kind == "image")
    total += sum(shard.rows for shard in shards if shard.kind == "parquet")
    is_exact = True
    for kind, count in (("video", _count_frames), ("tar", _count_images)):
        files = [shard.paths[0] for shard in shards if shard.kind == kind]
        counted = spread(files, _COUNTED_FILES)
        found = [count(path) for path in counted]
        total += sum(found)
        if len(files) > len(counted):
            is_exact = False
            sizes = {path: storage_of(path).size(path) for path in files}
            rest = sum(sizes.values()) - sum(sizes[path] for path in counted)
            total += round(sum(found) * rest / max(1, sum(sizes[path] for path in counted)))
    return total, is_exact


def _count_frames(path: str) -> int:
    """Return how many frames a video states, or by decoding it; 0 if it cannot be read."""
    try:
        with storage_of(path).local(path) as local, contextlib.closing(open_video(local)) as video:
            return video.count or sum(1 for _ in video.frames())
    except UnreadableInputError:
        return 0


def _count_images(path: str) -> int:
    try:
        with storage_of(path).open(path) as stream:
            return sum(1 for _ in image_members(stream))
    except (UnreadableInputError, *TAR_ERRORS):
        return 0


def _measure(segmenter: Segmenter, shard: Shard, task: Task, warm_up: bool) -> list[float]:
    """Return the seconds per frame of some calls: reading, inference and encoding."""
    took: list[float] = []
    groups = batches(read_items(shard, task.image_column), task.batch)
    if warm_up and (first := next(groups, None)):
        list(label_items(segmenter, first))
        groups = itertools.chain([first], groups)  # timed too: there may be no other
    began = time.perf_counter()
    for group in itertools.islice(groups, _SAMPLE_CALLS):
        for result in label_items(segmenter, group):
            encode_png(result.labels)
        took.append((time.perf_counter() - began) / len(group))
        began = time.perf_counter()
    return took
