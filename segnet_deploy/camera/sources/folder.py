"""Folders of images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from segnet_deploy.camera.sources.base import PendingFrame, SourceOptions
from segnet_deploy.camera.sources.paced_stream import PacedStream
from segnet_deploy.frames import IMAGE_SUFFIXES, read_image, scan_folder

log = logging.getLogger("segnet_deploy.camera")

FPS = 10.0


class Folder:
    """The images of a folder, sorted by name. Raises InputError for a folder without images."""

    live = False

    def __init__(self, path: Path, options: SourceOptions):
        self.name = str(path)
        self._paths = scan_folder(path, IMAGE_SUFFIXES, progress=lambda text, *_: log.info(text))
        self._loop = options.loop
        self._fps = (options.fps or FPS) if options.paced else None

    def open(self, timeout: float) -> PacedStream:
        """Start at the first image; see Source."""
        return PacedStream(self._pictures(), self._fps)

    def _pictures(self) -> Iterator[PendingFrame]:
        while True:
            for path in self._paths:
                yield partial(read_image, path)
            if not self._loop:
                return
