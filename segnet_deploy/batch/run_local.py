"""Run shards in this process, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segnet_deploy.batch.archive import Shard
from segnet_deploy.batch.engine_files import EngineFiles
from segnet_deploy.batch.manifest import Record
from segnet_deploy.batch.worker import Task, segment_shard
from segnet_deploy.segmenter import Segmenter, load


def run_local(engine: EngineFiles, shards: Sequence[Shard], task: Task) -> Iterator[Record]:
    """Yield the record of each shard. Raises what `load` and `segment_shard` raise."""
    with open_segmenter(engine, task) as segmenter:
        for shard in shards:
            yield segment_shard(segmenter, shard, task)


def open_segmenter(engine: EngineFiles, task: Task) -> Segmenter:
    """Open an engine from its bytes, after a check of its hash, as the task says."""
    with engine.unpacked() as path:
        return load(path, task.runtime, task.fit, task.threads)
