"""The manifest of a run: its settings, and a record of every shard that is complete.

OUT/manifest.json        settings; at the end also the totals and every record
OUT/_shards/000012.json  the record of shard 12, written after its output: what makes it count
OUT/errors.csv           inputs that could not be read
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from segnet_deploy.batch.archive import Shard
from segnet_deploy.batch.outputs import output_file
from segnet_deploy.batch.storage import join, plain, storage_of
from segnet_deploy.errors import InputError, UnreadableInputError

MANIFEST, ERRORS, RECORDS = "manifest.json", "errors.csv", "_shards"
_VERSION = 1


@dataclass(frozen=True)
class Record:
    """What was done for one shard.

    `frames` were segmented; `errors` are path, part and reason of the inputs that were not.
    `histogram` has the pixels per class of all frames, `seconds` is the time of the whole shard and
    `file` the output, of `size` bytes, or None for label PNGs.
    """

    shard: int
    frames: int
    seconds: float
    histogram: list[int] = field(default_factory=list)
    errors: list[list[str]] = field(default_factory=list)
    file: str | None = None
    size: int = 0


class Manifest:
    """The manifest in a folder, by path or URI."""

    def __init__(self, folder: str):
        self._folder, self._storage = folder, storage_of(folder)
        self.settings: dict[str, Any] = {}

    def read_settings(self) -> dict[str, Any]:
        """Return the settings of the run in this folder, {} if there is none. Raises InputError."""
        name = join(self._folder, MANIFEST)
        if self._storage.kind(name) is None:
            return {}
        try:
            found = json.loads(self._storage.read_bytes(name))
            settings: dict[str, Any] = found["settings"]
            if found["version"] != _VERSION:
                raise ValueError(f"version {found['version']}")
        except (UnreadableInputError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{plain(name)} is no manifest of segnet-batch ({error}); choose another -o"
            ) from error
        return settings

    def begin(self, settings: dict[str, Any]) -> None:
        """Start the run, or go on with the one of the same settings.

        Raises InputError if a shard of a run with other settings is complete.
        """
        found = self.read_settings()
        changed = [key for key, value in settings.items() if found.get(key) != value]
        if changed and self._has_records():
            key = changed[0]
            raise InputError(
                f"{plain(self._folder)} has the results of another run: {key} was "
                f"{_short(found.get(key))}, now {_short(settings[key])}; choose another -o, or the "
                "same settings to go on with it"
            )
        self.settings = settings
        if changed:
            self._write(MANIFEST, {"version": _VERSION, "complete": False, "settings": settings})

    def finished(self, shards: Sequence[Shard]) -> dict[int, Record]:
        """Return the records of the shards that are complete. Raises InputError."""
        folder = join(self._folder, RECORDS)
        if self._storage.kind(folder) is None:
            return {}
        present = self._storage.files(folder)
        outputs = {} if self.settings["format"] == "png" else self._storage.files(self._folder)
        records = {}
        for shard in shards:
            name = join(folder, f"{shard.label}.json")
            record = self._read_record(name) if name in present else None
            if record is None:
                continue
            file = output_file(shard, self.settings["format"])
            # After a power failure an output may be shorter than it was.
            if file is None or outputs.get(join(self._folder, file)) == record.size:
                records[shard.number] = record
        return records

    def finish(self, records: Sequence[Record]) -> None:
        """Write the errors and the complete manifest, and remove what killed workers left."""
        errors = [error for record in records for error in record.errors]
        table = io.StringIO(newline="")
        csv.writer(table).writerows([["path", "part", "reason"], *errors])
        self._storage.write_bytes(
            join(self._folder, ERRORS), table.getvalue().encode("utf-8", "backslashreplace")
        )
        totals = {
            "frames": sum(record.frames for record in records),
            "errors": len(errors),
            "histogram": add_histograms([record.histogram for record in records]),
        }
        self._write(
            MANIFEST,
            {
                "version": _VERSION,
                "complete": True,
                "settings": self.settings,
                "totals": totals,
                "shards": [asdict(record) for record in records],
            },
        )
        for name in self._storage.files(self._folder):
            if name.rpartition("/")[2].startswith(".part-"):
                self._storage.remove(name)

    def _has_records(self) -> bool:
        folder = join(self._folder, RECORDS)
        return self._storage.kind(folder) is not None and bool(self._storage.files(folder))

    def _read_record(self, name: str) -> Record | None:
        try:
            return Record(**json.loads(self._storage.read_bytes(name)))
        except (UnreadableInputError, ValueError, TypeError):
            return None  # cut short by a power failure: the shard runs again

    def _write(self, name: str, content: dict[str, Any]) -> None:
        data = (json.dumps(content, indent=1) + "\n").encode()
        self._storage.write_bytes(join(self._folder, name), data)


def write_record(folder: str, shard: Shard, record: Record) -> None:
    """Record that a shard is complete. Raises InputError."""
    name = join(folder, RECORDS, f"{shard.label}.json")
    storage_of(folder).write_bytes(name, json.dumps(asdict(record)).encode())


def add_histograms(histograms: Sequence[list[int]]) -> list[int]:
    """Return the sum of histograms, which may differ in length.

    >>> add_histograms([[1, 2], [1, 0, 5]])
    [2, 2, 5]
    """
    total = [0] * max(map(len, histograms), default=0)
    for histogram in histograms:
        for label, count in enumerate(histogram):
            total[label] += count
    return total


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
