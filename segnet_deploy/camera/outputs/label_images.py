"""Write each label map as a PNG."""

from __future__ import annotations

from pathlib import Path

from segnet_deploy.camera.outputs.disk_space import MIN_FREE_BYTES, DiskGuard
from segnet_deploy.camera.result import Result, Status
from segnet_deploy.errors import InputError
from segnet_deploy.frames import write_png


class LabelImages:
    """Writes `000000042.png`, (H, W) uint8 class ids, named after the frame's sequence number.

    While the disk has less than `min_free_bytes` free, nothing is written. Raises InputError if
    `folder` cannot be created.
    """

    def __init__(self, folder: str | Path, min_free_bytes: int = MIN_FREE_BYTES):
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot create the folder {folder}: {error.strerror}") from error
        self._disk = DiskGuard(self._folder, min_free_bytes)

    def show(self, result: Result) -> None:
        """Write one file."""
        if self._disk.has_room():
            write_png(self._folder / f"{result.sequence:09d}.png", result.labels)

    def report(self, status: Status) -> None:
        """Ignore the status."""

    def close(self) -> None:
        """Do nothing: each file is complete."""
