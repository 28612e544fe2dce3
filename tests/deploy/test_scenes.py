"""Synthetic scenes depend only on their seed and contain every class."""

from __future__ import annotations

import numpy as np
import pytest

from segnet_deploy.scenes import CLASSES, draw_scene


def test_scene_is_the_same_for_a_seed() -> None:
    a, b, c = draw_scene(5), draw_scene(5), draw_scene(6)
    assert np.array_equal(a.frame, b.frame)
    assert np.array_equal(a.labels, b.labels)
    assert not np.array_equal(a.labels, c.labels)


@pytest.mark.parametrize("size", [(180, 240), (33, 57), (8, 8)])
def test_scene_has_the_requested_size(size: tuple[int, int]) -> None:
    scene = draw_scene(0, *size)
    assert scene.frame.shape == (*size, 3)
    assert scene.labels.shape == size
    assert scene.frame.dtype == scene.labels.dtype == np.uint8


def test_every_class_occurs() -> None:
    seen = {int(i) for seed in range(30) for i in np.unique(draw_scene(seed).labels)}
    assert seen == set(range(len(CLASSES)))
