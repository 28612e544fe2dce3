"""Between sensor_msgs/Image and arrays, without ROS: any object with the fields of Image does."""

from __future__ import annotations

from typing import Any

import numpy as np

# Channels of an encoding, and which of them are blue, green and red.
ENCODINGS = {
    "bgr8": (3, (0, 1, 2)),
    "rgb8": (3, (2, 1, 0)),
    "bgra8": (4, (0, 1, 2)),
    "rgba8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "8UC3": (3, (0, 1, 2)),
    "8UC1": (1, (0, 0, 0)),
}


def to_frame(image: Any) -> np.ndarray:
    """Return an Image as (H, W, 3) uint8 BGR. Raises ValueError for an encoding or a size it lacks.

    Rows may be padded: `image.step` is their length in bytes.
    """
    if image.encoding not in ENCODINGS:
        names = ", ".join(ENCODINGS)
        raise ValueError(f"encoding {image.encoding!r}; expected {names}: convert with image_proc")
    channels, order = ENCODINGS[image.encoding]
    height, width, step = image.height, image.width, image.step
    data = np.frombuffer(image.data, np.uint8)
    if step < width * channels or len(data) < height * step or not height * width:
        raise ValueError(
            f"{len(data)} bytes in rows of {step}; expected {height} rows of {width} pixels of "
            f"{channels} bytes"
        )
    rows = data[: height * step].reshape(height, step)[:, : width * channels]
    return np.ascontiguousarray(rows.reshape(height, width, channels)[..., list(order)])


def fill_image(image: Any, picture: np.ndarray, header: Any) -> Any:
    """Write (H, W) class ids as mono8, or (H, W, 3) BGR as bgr8, into an Image, and return it.

    `header` is that of the segmented image, so that time and frame id are its own.
    """
    picture = np.ascontiguousarray(picture, np.uint8)
    image.header = header
    image.height, image.width = picture.shape[:2]
    image.encoding = "mono8" if picture.ndim == 2 else "bgr8"
    image.is_bigendian = 0
    image.step = picture.strides[0]
    image.data = picture.tobytes()
    return image
