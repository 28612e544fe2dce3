"""Camera sources: how they are found, and devices that pause or are missing."""

from __future__ import annotations

import time

import numpy as np
import pytest

from segnet_deploy import InputError
from segnet_deploy.camera.sources.base import SourceLostError, without_password
from segnet_deploy.camera.sources.find import find_source
from segnet_deploy.camera.sources.opencv_stream import OpencvStream
from segnet_deploy.types import Frame


class FakeCapture:
    """Answers as cv2.VideoCapture does, to test the waiting: no test machine has a device.

    None is a wait without a frame, a text an immediate failure.
    """

    def __init__(self, *answers: Frame | str | None):
        self.answers = iter(answers)

    def read(self) -> tuple[bool, Frame | None]:
        answer = next(self.answers)
        if isinstance(answer, str):
            return False, None
        if answer is None:
            time.sleep(0.55)
        return answer is not None, answer


def test_device_that_pauses_is_waited_for_and_an_unplugged_one_is_not() -> None:
    stream = OpencvStream(
        FakeCapture(None, np.zeros((20, 24, 3), np.uint8), "gone"), "/dev/video0", timeout=2.0
    )
    pending = stream.read()
    assert pending is not None
    assert pending().shape == (20, 24, 3)
    with pytest.raises(SourceLostError, match="unplugged"):
        stream.read()
    with pytest.raises(SourceLostError, match="no frame for"):
        OpencvStream(FakeCapture(None, None), "/dev/video0", timeout=0.5).read()


def test_missing_device_is_an_error() -> None:
    with pytest.raises(SourceLostError, match="does not exist"):
        find_source("/dev/video97").open(1.0)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("synthetic", "Synthetic"),
        ("0", "Device"),
        ("/dev/video3", "Device"),
        ("rtsp://u:secret@camera/stream", "Network"),
        ("http://camera/video.mjpg", "Network"),
        ("csi://1", "Pipeline"),
        ("videotestsrc ! videoconvert", "Pipeline"),
    ],
)
def test_sources_are_found_by_their_uri(uri: str, kind: str) -> None:
    source = find_source(uri)
    assert type(source).__name__ == kind
    assert source.live
    assert "secret" not in source.name


@pytest.mark.parametrize("uri", ["missing.mp4", "ftp://host/file", "csi://front", "picture.png"])
def test_bad_sources_are_one_clear_line(uri: str) -> None:
    with pytest.raises(InputError, match="expected"):
        find_source(uri)


def test_passwords_are_not_shown() -> None:
    assert without_password("rtsp://me:pw@host/x") == "rtsp://***@host/x"
    assert without_password("rtspsrc location=rtsp://me:pw@h/x ! y").count("pw") == 0
    with pytest.raises(InputError) as caught:
        find_source("ftp://me:pw@host/x")
    assert "pw" not in str(caught.value)
