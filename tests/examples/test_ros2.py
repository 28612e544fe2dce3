"""The ROS 2 node of examples/ros2: its messages without ROS, and a round trip where rclpy is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

PACKAGE = Path(__file__).parents[2] / "examples/ros2/segnet_ros2"
PROGRAM = Path(__file__).parents[1] / "programs/ros2_round_trip.py"
sys.path.insert(0, str(PACKAGE))

from segnet_ros2.messages import ENCODINGS, fill_image, to_frame  # noqa: E402 - needs the path

COLOUR = (10, 20, 30)  # blue, green, red
STORED = {
    "bgr8": COLOUR,
    "rgb8": COLOUR[::-1],
    "bgra8": (*COLOUR, 255),
    "rgba8": (*COLOUR[::-1], 255),
    "mono8": (7,),
    "8UC3": COLOUR,
    "8UC1": (7,),
}


def image(encoding: str, padding: int) -> SimpleNamespace:
    """Return a message of 2 x 3 pixels, whose rows have `padding` more bytes."""
    row = bytes(STORED[encoding]) * 3 + b"\xff" * padding
    fields = {"encoding": encoding, "height": 2, "width": 3, "step": len(row), "data": row * 2}
    return SimpleNamespace(**fields)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_becomes_a_bgr_frame(encoding: str, padding: int) -> None:
    frame = to_frame(image(encoding, padding))
    expected = (7, 7, 7) if len(STORED[encoding]) == 1 else COLOUR
    assert (frame == np.broadcast_to(np.array(expected, np.uint8), (2, 3, 3))).all()
    assert frame.flags.c_contiguous


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"encoding": "bayer_rggb8"}, "expected bgr8, rgb8"),
        ({"step": 8}, "expected 2 rows of 3 pixels"),
        ({"height": 3}, "18 bytes in rows of 9"),
        ({"height": 0}, "expected 0 rows"),
    ],
)
def test_images_that_do_not_fit_are_refused(changed: dict[str, object], expected: str) -> None:
    message = image("bgr8", 0)
    vars(message).update(changed)
    with pytest.raises(ValueError, match=expected):
        to_frame(message)


def test_results_keep_the_header_of_their_image() -> None:
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    message = fill_image(SimpleNamespace(), labels, "the header")
    assert (message.encoding, message.step, message.data) == ("mono8", 3, bytes(range(6)))
    assert message.header == "the header"
    picture = np.stack([labels] * 3, 2)
    message = fill_image(message, picture[:, ::-1], "the header")  # not contiguous
    assert (message.encoding, message.height, message.width, message.step) == ("bgr8", 2, 3, 9)
    assert (to_frame(message) == picture[:, ::-1]).all()


@pytest.mark.needs("ros2")
def test_node_publishes_the_labels_of_an_image(small_model: Path) -> None:
    """In the interpreter ROS2_PYTHON: two nodes, and the results compared with the segmenter's."""
    environment = os.environ | {"ROS_DOMAIN_ID": str(os.getpid() % 100 + 1)}
    words = [os.environ["ROS2_PYTHON"], str(PROGRAM), str(PACKAGE), str(small_model)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "labels, overlay and classes are right" in done.stdout
