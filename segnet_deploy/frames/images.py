"""Read images, upright and with 8 bits per channel, and write PNGs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from segnet_deploy.errors import InputError, UnreadableInputError
from segnet_deploy.files import atomic_write
from segnet_deploy.frames.damage import find_damage
from segnet_deploy.optional import require
from segnet_deploy.types import Frame

# Bits per channel that cameras deliver; files store those above 8 in 16 bits.
_DEPTHS = (8, 10, 12, 14, 16)


def read_image(path: str | os.PathLike[str], extra: str = "camera") -> Frame:
    """Read an image as (H, W, 3) uint8 BGR, turned upright as its EXIF orientation says.

    16 bits per channel are scaled to 8 by their real range: the smallest of 8, 10, 12, 14 and 16
    bits that contains the largest value. Raises UnreadableInputError if the image is missing,
    damaged (see `find_damage`) or has other pixels. If OpenCV is missing, the error names `extra`:
    that of the command that reads the image.
    """
    require("cv2", extra)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise UnreadableInputError(f"cannot read image {path}: {reason}") from error
    return decode_image(data, str(path))


def decode_image(data: bytes, name: str) -> Frame:
    """Decode the bytes of an image file as `read_image` does; errors call it `name`."""
    cv2 = require("cv2", extra="camera")
    if (damage := find_damage(data)) is not None:
        raise UnreadableInputError(f"cannot decode image {name}, it is damaged: {damage}")
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise UnreadableInputError(f"cannot decode image {name}: {error}") from error
    if image is None:
        raise UnreadableInputError(
            f"cannot decode image {name}; expected a complete image, such as PNG, JPEG or TIFF"
        )
    if image.dtype == np.uint16:
        return scale_to_8_bits(image)
    if image.dtype != np.uint8:
        raise UnreadableInputError(
            f"image {name} has {image.dtype} pixels; expected 8 or 16 bits per channel, unsigned"
        )
    return np.asarray(image)


def scale_to_8_bits(image: np.ndarray[Any, np.dtype[np.uint16]]) -> Frame:
    """Return (H, W, C) uint16 as uint8, by the smallest depth that contains the largest value.

    >>> scale_to_8_bits(np.array([[[0, 2048, 4095]]], np.uint16)).tolist()  # 12 bits
    [[[0, 128, 255]]]
    """
    largest = int(image.max(initial=0))
    bits = next(depth for depth in _DEPTHS if largest < 1 << depth)
    return np.asarray(image >> (bits - 8), np.uint8)


def encode_png(image: Frame) -> bytes:
    """Return (H, W) labels or (H, W, 3) BGR as the bytes of a PNG. Raises InputError."""
    return encode_image(image, ".png")


def encode_image(image: Frame, suffix: str) -> bytes:
    """Return an image as the bytes of a file with `suffix`, such as .jpg. Raises InputError."""
    cv2 = require("cv2", extra="camera")
    try:
        encoded, data = cv2.imencode(suffix, image)
    except cv2.error:  # a format that this OpenCV only reads, or a size that it does not allow
        encoded = False
    if not encoded:
        raise InputError(f"cannot encode an image of shape {image.shape} as {suffix[1:].upper()}")
    content: bytes = data.tobytes()
    return content


def write_png(path: str | os.PathLike[str], image: Frame) -> None:
    """Write (H, W) labels or (H, W, 3) BGR, completely or not at all. Raises InputError."""
    atomic_write(path, encode_png(image))
