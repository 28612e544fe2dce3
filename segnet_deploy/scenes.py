"""Synthetic street scenes with ground-truth labels, for the demo, the parity gate and benchmarks.

A scene is determined by its seed; no file is read. The classes are those of CamVid.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from segnet_deploy.classes import CAMVID, Colour
from segnet_deploy.types import Frame

CLASSES = CAMVID.names
_CLASS_IDS = {name: number for number, name in enumerate(CLASSES)}

# Mean BGR colour of each class; each scene and object deviates from it.
_MEAN_COLOURS: dict[str, Colour] = {
    "Sky": (225, 190, 150),
    "Building": (110, 120, 145),
    "Pole": (95, 100, 100),
    "Road": (85, 82, 80),
    "Pavement": (135, 130, 140),
    "Tree": (50, 95, 60),
    "SignSymbol": (40, 60, 215),
    "Fence": (150, 165, 175),
    "Car": (140, 60, 50),
    "Pedestrian": (70, 60, 120),
    "Bicyclist": (60, 150, 190),
}


class Scene(NamedTuple):
    """A frame, (H, W, 3) uint8 BGR, and its labels, (H, W) uint8 class ids of CLASSES."""

    frame: Frame
    labels: Frame


def draw_scene(seed: int, height: int = 180, width: int = 240) -> Scene:
    """Draw a street of `height` x `width` px: sky, houses, trees, road, poles, signs, cars, people.

    >>> draw_scene(1, 90, 120).frame.shape
    (90, 120, 3)
    """
    return _Canvas(np.random.default_rng(seed), height, width).street()


class _Canvas:
    """Paints shapes in unit coordinates, x to the right and y down, distant objects first."""

    def __init__(self, rng: np.random.Generator, height: int, width: int):
        self.rng = rng
        self.shape = (height, width)
        self.y, self.x = np.meshgrid(
            (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij"
        )
        self.colour = np.zeros((height, width, 3), np.float32)
        self.labels = np.zeros((height, width), np.uint8)
        self.horizon = float(rng.uniform(0.38, 0.5))
        self.vanishing = float(rng.uniform(0.4, 0.6))
        self.light = float(rng.uniform(0.75, 1.15))

    def street(self) -> Scene:
        self.fill("Sky", np.ones(self.shape, bool), shade=0.9 + 0.5 * self.y)
        self.houses()
        self.ground()
        for side in (-1, 1):
            if self.rng.random() < 0.5:
                self.fence(side)
        for _ in range(self.rng.integers(2, 6)):
            self.tree()
        for _ in range(self.rng.integers(1, 4)):
            self.pole()
        for depth in np.sort(self.rng.uniform(0.12, 0.8, self.rng.integers(3, 8))):
            draw = (self.car, self.pedestrian, self.bicyclist)[
                self.rng.choice(3, p=(0.5, 0.3, 0.2))
            ]
            draw(float(depth))
        return Scene(self.finish(), self.labels)

    def fill(self, name: str, mask: Any, shade: Any = 1.0, spread: float = 12.0) -> None:
        """Paint `mask` as class `name`; `shade` is a brightness factor, a number or a map."""
        paint = np.asarray(_MEAN_COLOURS[name], np.float32) + self.rng.normal(0, spread, 3)
        shades = np.broadcast_to(np.asarray(shade, np.float32), self.shape)
        self.colour[mask] = paint.astype(np.float32) * shades[mask][:, None]
        self.labels[mask] = _CLASS_IDS[name]

    def box(self, left: float, top: float, right: float, bottom: float) -> Any:
        return (self.x >= left) & (self.x < right) & (self.y >= top) & (self.y < bottom)

    def disc(self, x: float, y: float, rx: float, ry: float) -> Any:
        return ((self.x - x) / rx) ** 2 + ((self.y - y) / ry) ** 2 < 1

    def houses(self) -> None:
        left = -0.05
        while left < 1.05:
            width = self.rng.uniform(0.1, 0.3)
            gap = self.rng.random() < 0.2
            if not gap:
                distance = abs(left + width / 2 - self.vanishing)
                top = self.horizon - self.rng.uniform(0.1, 0.2) - 0.5 * distance
                windows = np.sin(self.x * self.rng.uniform(70, 110)) * np.sin(
                    self.y * self.rng.uniform(60, 100)
                )
                shade = np.where(windows > 0.35, 0.6, 1.0)
                walls = self.box(left, top, left + width, self.horizon + 0.06)
                self.fill("Building", walls, shade, spread=25)
            left += width

    def ground(self) -> None:
        below = self.y > self.horizon
        self.fill("Pavement", below, 0.8 + 0.3 * self.y, spread=8)
        depth = (self.y - self.horizon) / (1 - self.horizon)
        middle = self.vanishing + (0.5 - self.vanishing) * depth
        half = 0.03 + self.rng.uniform(0.4, 0.6) * depth
        road = below & (np.abs(self.x - middle) < half)
        self.fill("Road", road, 0.85 + 0.3 * self.y, spread=8)
        dash = np.sin(12 / np.maximum(depth, 0.05)) > 0
        line = road & (np.abs(self.x - middle) < 0.012 * (0.2 + depth)) & dash
        self.colour[line] = 215
        self.half, self.depth = half, depth

    def fence(self, side: int) -> None:
        edge = self.vanishing + side * (0.12 + (0.75 - 0.12) * self.depth)
        rail = np.abs(self.x - self.vanishing) - np.abs(edge - self.vanishing)
        behind = (rail > 0) & (side * (self.x - self.vanishing) > 0)
        tall = (self.y > self.horizon) & (self.y < self.horizon + 0.12 + 0.1 * np.abs(self.x - 0.5))
        bars = np.where(np.sin(self.x * 160) > 0.2, 1.0, 0.7)
        self.fill("Fence", behind & tall, bars, spread=10)

    def tree(self) -> None:
        x = self.vanishing + self.rng.choice((-1, 1)) * self.rng.uniform(0.15, 0.55)
        size = self.rng.uniform(0.06, 0.13)
        foot = self.horizon + self.rng.uniform(0.03, 0.16)
        self.fill("Tree", self.box(x - 0.012, foot - 0.25, x + 0.012, foot), 0.6)
        for _ in range(5):
            dx, dy = self.rng.normal(0, size * 0.5, 2)
            crown = self.disc(x + dx, foot - 0.28 + dy, size, size * 1.1)
            self.fill("Tree", crown, self.rng.uniform(0.75, 1.2), spread=8)

    def pole(self) -> None:
        x = self.vanishing + self.rng.choice((-1, 1)) * self.rng.uniform(0.2, 0.5)
        foot = self.horizon + self.rng.uniform(0.1, 0.3)
        top, thick = self.rng.uniform(0.05, 0.25), self.rng.uniform(0.007, 0.012)
        self.fill("Pole", self.box(x - thick, top, x + thick, foot))
        if self.rng.random() < 0.8:
            y, r = top + 0.03, self.rng.uniform(0.03, 0.05)
            self.fill("SignSymbol", self.disc(x, y, r, r * 1.3), spread=15)
            self.colour[self.disc(x, y, r * 0.5, r * 0.65)] = 235

    def position(self, depth: float, offset: float) -> tuple[float, float]:
        """Return x and y of the foot of an object, `offset` half road widths from the middle."""
        middle = self.vanishing + (0.5 - self.vanishing) * depth
        half = 0.03 + 0.5 * depth
        return middle + offset * half, self.horizon + depth * (1 - self.horizon)

    def car(self, depth: float) -> None:
        x, foot = self.position(depth, float(self.rng.uniform(-0.85, 0.85)))
        w, h = 0.05 + 0.2 * depth, 0.05 + 0.2 * depth
        hue = self.rng.uniform(0.4, 1.6)
        self.fill("Car", self.box(x - w, foot - h * 0.65, x + w, foot - h * 0.1), hue, spread=40)
        self.fill("Car", self.box(x - w * 0.7, foot - h, x + w * 0.7, foot - h * 0.6), hue * 0.6)
        for side in (-0.65, 0.65):
            self.fill("Car", self.disc(x + side * w, foot - h * 0.1, w * 0.2, h * 0.16), 0.25)

    def pedestrian(self, depth: float) -> None:
        side = float(self.rng.choice((-1, 1)) * self.rng.uniform(0.8, 1.5))
        x, foot = self.position(depth, side)
        self.figure("Pedestrian", x, foot, 0.1 + 0.3 * depth)

    def bicyclist(self, depth: float) -> None:
        x, foot = self.position(depth, float(self.rng.choice((-1, 1)) * self.rng.uniform(0.6, 1.1)))
        size = 0.09 + 0.26 * depth
        for side in (-0.22, 0.22):
            ring = self.disc(x + side * size, foot - 0.13 * size, 0.17 * size, 0.2 * size)
            self.fill("Bicyclist", ring, 0.35, spread=6)
        self.figure("Bicyclist", x, foot - 0.18 * size, size * 0.85)

    def figure(self, name: str, x: float, foot: float, size: float) -> None:
        shade = self.rng.uniform(0.7, 1.3)
        self.fill(name, self.box(x - 0.09 * size, foot - 0.5 * size, x + 0.09 * size, foot), 0.6)
        body = self.disc(x, foot - 0.6 * size, 0.13 * size, 0.26 * size)
        self.fill(name, body, shade, spread=20)
        self.fill(name, self.disc(x, foot - 0.92 * size, 0.065 * size, 0.085 * size), 1.1)

    def finish(self) -> Frame:
        """Add light, coarse texture and sensor noise."""
        height, width = self.shape
        coarse = self.rng.normal(0, 1, (height // 8 + 2, width // 8 + 2))
        texture = np.kron(coarse, np.ones((8, 8)))[:height, :width, None]
        noise = self.rng.normal(0, 5, (height, width, 3))
        return np.clip(self.colour * self.light + 3 * texture + noise, 0, 255).astype(np.uint8)
