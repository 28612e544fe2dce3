"""RTSP and HTTP cameras (MJPEG and other formats), decoded by PyAV."""

from __future__ import annotations

from segnet_deploy.camera.sources.av_stream import AvStream, losses
from segnet_deploy.camera.sources.base import SourceOptions, without_password
from segnet_deploy.frames.decoder import VideoDecoder

# Short probing and a small reordering queue. Not `nobuffer`: it discards what was probed, often a
# key frame, and the first picture then waits for the next key frame.
LOW_LATENCY = {
    "flags": "low_delay",
    "analyzeduration": "200000",  # us
    "probesize": "500000",  # bytes
}
RTSP = {"max_delay": "100000", "reorder_queue_size": "8"}  # us, packets


class Network:
    """An rtsp(s):// or http(s):// URL."""

    live = True

    def __init__(self, url: str, options: SourceOptions):
        self._url = url
        self.name = without_password(url)
        self._av_options = dict(LOW_LATENCY)
        if url.lower().startswith("rtsp"):
            self._av_options |= RTSP | {"rtsp_transport": options.rtsp_transport}

    def open(self, timeout: float) -> AvStream:
        """Connect; see Source."""
        with losses():
            decoder = VideoDecoder(self._url, self.name, options=self._av_options, timeout=timeout)
        return AvStream(decoder, timeout, live=True)
