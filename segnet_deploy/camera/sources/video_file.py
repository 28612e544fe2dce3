"""Video files."""

from __future__ import annotations

from pathlib import Path

from segnet_deploy.camera.sources.av_stream import AvStream
from segnet_deploy.camera.sources.base import SourceOptions
from segnet_deploy.frames import open_video


class VideoFile:
    """A video file, played at its own speed unless `options.paced` is off."""

    live = False

    def __init__(self, path: Path, options: SourceOptions):
        self.name = str(path)
        self._options = options

    def open(self, timeout: float) -> AvStream:
        """Open the file; see Source."""
        options = self._options
        return AvStream(open_video(self.name), timeout, paced=options.paced, loop=options.loop)
