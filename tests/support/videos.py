"""Small videos, written with PyAV, and damage to them."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np

from segnet_deploy.scenes import draw_scene
from segnet_deploy.types import Frame

# (a, b, c, d) of the display matrix by the clockwise angle in degrees.
ROTATIONS = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
HEIGHT, WIDTH = 48, 64


def quarters() -> Frame:
    """Return a picture whose quarters are red, green, blue and black (BGR values)."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[: HEIGHT // 2, : WIDTH // 2] = (0, 0, 250)
    picture[: HEIGHT // 2, WIDTH // 2 :] = (0, 250, 0)
    picture[HEIGHT // 2 :, : WIDTH // 2] = (250, 0, 0)
    return picture


def noisy(count: int) -> list[Frame]:
    """Return frames of a moving scene with noise, so that each needs many bytes."""
    scene = draw_scene(1, HEIGHT, 4 * WIDTH).frame.astype(int)
    noise = np.random.default_rng(0).integers(-20, 20, (count, HEIGHT, WIDTH, 3))
    pictures = [scene[:, 2 * n : 2 * n + WIDTH] + noise[n] for n in range(count)]
    return [np.clip(picture, 0, 255).astype(np.uint8) for picture in pictures]


def write(path: Path, pictures: list[Frame], codec: str = "mpeg4", fps: int = 10) -> Path:
    """Write a video; its container is that of the suffix."""
    with av.open(f"file:{path}", "w") as file:
        stream = file.add_stream(codec, rate=fps)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 2_000_000
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        file.mux(stream.encode(None))
    return path


def rotate(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Set the display matrix in the track header of an MP4."""
    data = bytearray(path.read_bytes())
    start = data.find(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def add_noise(path: Path, share: float = 0.15) -> None:
    """Replace a share of the file, from its middle on, by noise."""
    data = bytearray(path.read_bytes())
    start, length = len(data) // 2, round(len(data) * share)
    data[start : start + length] = np.random.default_rng(1).bytes(length)
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Keep the first half of the file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
