"""Write each label map as a line of JSON with run lengths."""

from __future__ import annotations

import json
from pathlib import Path

from segnet_deploy.camera.outputs.disk_space import MIN_FREE_BYTES, DiskGuard
from segnet_deploy.camera.result import Result, Status
from segnet_deploy.camera.run_lengths import labels_to_runs
from segnet_deploy.errors import InputError


class LabelLines:
    """Appends one JSON object per line and result: sequence, captured, age, size, runs.

    `captured` (monotonic clock) and `age` are in seconds, `size` is [height, width] in px, `runs`
    is [label, length, label, length, ...], row by row; `labels_from_runs` decodes it. While the
    disk has less than `min_free_bytes` free, nothing is written. Raises InputError if `path`
    cannot be written.
    """

    def __init__(self, path: str | Path, min_free_bytes: int = MIN_FREE_BYTES):
        try:
            self._file = open(path, "a", encoding="ascii", buffering=1)  # noqa: SIM115 (close)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error
        self._disk = DiskGuard(Path(path).parent, min_free_bytes)

    def show(self, result: Result) -> None:
        """Write one line."""
        if self._disk.has_room():
            line = {
                "sequence": result.sequence,
                "captured": round(result.captured, 4),
                "age": round(result.age, 4),
                "size": list(result.labels.shape),
                "runs": labels_to_runs(result.labels),
            }
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def report(self, status: Status) -> None:
        """Ignore the status."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
