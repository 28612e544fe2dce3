"""Segment one shard after another with one engine: what every worker does, on Ray or without."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from segnet_deploy.batch.archive import Shard
from segnet_deploy.batch.items import Item, read_items
from segnet_deploy.batch.manifest import Record, add_histograms, write_record
from segnet_deploy.batch.outputs import Labelled, count_labels, open_output, output_file
from segnet_deploy.batch.storage import join, storage_of
from segnet_deploy.frames import group_alike
from segnet_deploy.segmenter import Segmenter


@dataclass(frozen=True)
class Task:
    """What a worker has to know beside the engine and the shard; see BatchOptions."""

    output: str
    engine: str  # SHA-256
    runtime: str
    threads: int | None
    fit: str = "stretch"
    batch: int = 1
    form: str = "parquet"
    with_labels: bool = True
    image_column: str = "image"


def segment_shard(segmenter: Segmenter, shard: Shard, task: Task) -> Record:
    """Segment a shard, write its output, then its record, and return that.

    A shard that was interrupted can be done again: files of the same names are replaced. Raises
    InputError (an output that cannot be written, a missing column) or EngineError.
    """
    began = time.monotonic()
    errors: list[list[str]] = []
    frames, histogram = 0, [0] * len(segmenter.metadata.classes)
    with open_output(task.output, shard, task.form, task.engine, task.with_labels) as output:
        for items in batches(read_items(shard, task.image_column), task.batch, errors):
            for result in label_items(segmenter, items):
                output.add(result)
                histogram = add_histograms([histogram, result.histogram])
            frames += len(items)
    file = output_file(shard, task.form)
    size = storage_of(task.output).size(join(task.output, file)) if file else 0
    seconds = time.monotonic() - began
    record = Record(shard.number, frames, seconds, histogram, errors, file, size)
    write_record(task.output, shard, record)
    return record


def label_items(segmenter: Segmenter, items: list[Item]) -> Iterator[Labelled]:
    """Segment the frames of some items in one call. Raises EngineError."""
    began = time.perf_counter()
    maps = segmenter.segment_batch([item.frame for item in items if item.frame is not None])
    milliseconds = 1e3 * (time.perf_counter() - began) / len(items)
    for item, labels in zip(items, maps, strict=True):
        counts = count_labels(labels, len(segmenter.metadata.classes))
        yield Labelled(item, labels, counts, milliseconds)


def batches(
    items: Iterable[Item], size: int, errors: list[list[str]] | None = None
) -> Iterator[list[Item]]:
    """Return lists of up to `size` consecutive items with frames of one size; see `_readable`."""
    return group_alike(_readable(items, errors), size, _shape)


def _readable(items: Iterable[Item], errors: list[list[str]] | None) -> Iterator[Item]:
    """Yield the items that have a frame; the others go to `errors`."""
    for item in items:
        if item.frame is not None:
            yield item
        elif errors is not None:
            errors.append([item.path, item.part, item.error])


def _shape(item: Item) -> object:
    assert item.frame is not None
    return item.frame.shape
