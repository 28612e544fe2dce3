"""Find the source that a URI names. A new kind of source gets its line in `find_source`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from segnet_deploy.camera.sources.base import Source, SourceOptions, without_password
from segnet_deploy.camera.sources.folder import Folder
from segnet_deploy.camera.sources.gstreamer import Pipeline
from segnet_deploy.camera.sources.network import Network
from segnet_deploy.camera.sources.synthetic import Synthetic
from segnet_deploy.camera.sources.v4l2 import Device
from segnet_deploy.camera.sources.video_file import VideoFile
from segnet_deploy.errors import InputError
from segnet_deploy.frames import is_video

EXPECTED = (
    "a device (/dev/video0), rtsp:// or http:// URL, video file, folder of images, csi://0, "
    "GStreamer pipeline (with ' ! ') or 'synthetic'"
)


def find_source(uri: str, options: SourceOptions | None = None) -> Source:
    """Return the source that `uri` names, not yet opened.

    `uri` is a device (/dev/video0 or 0), an rtsp://, rtsps://, http:// or https:// URL, a video
    file, a folder of images, csi://N, a GStreamer pipeline without a sink, or 'synthetic'. Devices
    and files may begin with v4l2:// and file://.

    >>> source = find_source("synthetic", SourceOptions(size=(48, 64)))
    >>> pending = source.open(timeout=1.0).read()
    >>> pending().shape
    (48, 64, 3)

    Raises InputError if `uri` names no source.
    """
    options = options or SourceOptions()
    for prefix in ("v4l2://", "file://"):  # the words of jetson-inference
        uri = uri.removeprefix(prefix)
    scheme = urlsplit(uri).scheme.lower() if "://" in uri else ""
    if uri == "synthetic":
        return Synthetic(options)
    if uri.isdigit() or uri.startswith("/dev/video"):
        return Device(f"/dev/video{uri}" if uri.isdigit() else uri, options)
    if scheme == "csi" or " ! " in uri:
        return Pipeline(uri, options)
    if scheme in ("rtsp", "rtsps", "http", "https"):
        return Network(uri, options)
    path = Path(uri)
    if path.is_dir():
        return Folder(path, options)
    if path.is_file() and is_video(path):
        return VideoFile(path, options)
    reason = "no such file or folder" if not scheme and not path.exists() else "unsupported source"
    raise InputError(f"source {without_password(uri)}: {reason}; expected {EXPECTED}")
