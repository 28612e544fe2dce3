"""Write each label map as a line of JSON with run lengths."""

from __future__ import annotations

import json
import os
from pathlib import Path

from segnet_deploy.camera.outputs.disk_space import MIN_FREE_BYTES, DiskGuard
from segnet_deploy.camera.result import Result, Status
from segnet_deploy.errors import InputError
from segnet_deploy.results.run_lengths import labels_to_runs
from segnet_deploy.schemas import head

_BLOCK = 1 << 16  # bytes


class LabelLines:
    """Appends one JSON object per line and result: sequence, captured, age, size, runs.

    `captured` (monotonic clock) and `age` are in seconds, `size` is [height, width] in px, `runs`
    is [label, length, label, length, ...], row by row; `labels_from_runs` decodes it. While the
    disk has less than `min_free_bytes` free, nothing is written. Of an existing file, a last line
    that a kill left incomplete is removed. Raises InputError if `path` cannot be written.
    """

    def __init__(self, path: str | Path, min_free_bytes: int = MIN_FREE_BYTES):
        try:
            _drop_incomplete_line(Path(path))
            self._file = open(path, "ab")  # noqa: SIM115 (close)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error
        self._disk = DiskGuard(Path(path).parent, min_free_bytes)

    def show(self, result: Result) -> None:
        """Write one line."""
        if self._disk.has_room():
            line = {
                **head("camera-labels"),
                "sequence": result.sequence,
                "captured": round(result.captured, 4),
                "age": round(result.age, 4),
                "size": list(result.labels.shape),
                "runs": labels_to_runs(result.labels),
            }
            text = json.dumps(line, separators=(",", ":")) + "\n"
            self._file.write(text.encode("ascii"))
            self._file.flush()

    def report(self, status: Status) -> None:
        """Ignore the status."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _drop_incomplete_line(path: Path) -> None:
    """Cut a file after its last newline, so that the next line does not continue a broken one."""
    if not path.is_file():
        return
    with open(path, "r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
