"""Write label maps: a PNG each, or lines of JSON with run lengths."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from segnet_deploy.camera.outputs.disk_space import LEAST_BYTES, DiskGuard
from segnet_deploy.camera.result import Result, Status
from segnet_deploy.errors import InputError
from segnet_deploy.frames import write_png
from segnet_deploy.types import Frame


class LabelImages:
    """Writes `000000042.png`, (H, W) uint8, named by the number of the captured frame."""

    def __init__(self, folder: str | Path, least_free: int = LEAST_BYTES):
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
        self._disk = DiskGuard(self._folder, least_free)

    def show(self, result: Result) -> None:
        """Write one file."""
        if self._disk.has_room():
            write_png(self._folder / f"{result.sequence:09d}.png", result.labels)

    def tell(self, status: Status) -> None:
        """States are not written."""

    def close(self) -> None:
        """Each file is finished already."""


class LabelLines:
    """Appends a line a result: sequence, captured (s, monotonic), age (s), size, runs.

    `runs` is [label, count, label, count, ...] in the order of rows.
    """

    def __init__(self, path: str | Path, least_free: int = LEAST_BYTES):
        try:
            self._file = open(path, "a", encoding="ascii", buffering=1)  # noqa: SIM115 (close)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error
        self._disk = DiskGuard(Path(path).parent, least_free)

    def show(self, result: Result) -> None:
        """Write one line."""
        if self._disk.has_room():
            line = {
                "sequence": result.sequence,
                "captured": round(result.captured, 4),
                "age": round(result.age, 4),
                "size": list(result.labels.shape),
                "runs": run_lengths(result.labels),
            }
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def tell(self, status: Status) -> None:
        """States are not written."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def run_lengths(labels: Frame) -> list[int]:
    """Return [label, count, label, count, ...] of (H, W) labels, row by row."""
    flat = labels.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    counts = np.diff(np.append(starts, flat.size))
    pairs: list[int] = np.stack([flat[starts].astype(np.int64), counts], axis=1).ravel().tolist()
    return pairs


def from_run_lengths(runs: list[int], size: tuple[int, int]) -> Frame:
    """Return the (H, W) uint8 labels of `runs`. Raises InputError where they do not fit."""
    if len(runs) % 2 or sum(runs[1::2]) != size[0] * size[1]:
        raise InputError(f"runs of {sum(runs[1::2])} px; expected {size[0]} x {size[1]}")
    return np.repeat(np.asarray(runs[::2], np.uint8), runs[1::2]).reshape(size)
