"""Results of frames: what they know, the forms that they are written in, and their sources."""

from __future__ import annotations

import doctest
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from docstrings import failures
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from videos import write

from segnet_deploy import InputError, Result, Segmenter, load
from segnet_deploy.errors import UnreadableInputError
from segnet_deploy.metadata import Metadata
from segnet_deploy.results import Times
from segnet_deploy.results.coco import encode_labels, to_coco
from segnet_deploy.results.polygons import find_polygons
from segnet_deploy.results.run_lengths import labels_from_runs, labels_to_runs
from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.function_engine import FunctionEngine
from segnet_deploy.scenes import draw_scene
from segnet_deploy.types import Array, Frame

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
SHAPES = [(1, 1), (1, 40), (40, 1), (7, 5), (60, 81)]


def random_labels(shape: tuple[int, int], classes: int = 3, seed: int = 0) -> Frame:
    """Return labels with areas of several px, with holes, at the borders, and single px."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, classes, (-(-shape[0] // 4), -(-shape[1] // 4)), np.uint8)
    labels = np.kron(coarse, np.ones((4, 4), np.uint8))[: shape[0], : shape[1]].copy()
    spots = random.random(shape) < 0.1
    labels[spots] = random.integers(0, classes, int(spots.sum()), np.uint8)
    return labels


def result(labels: Frame, **fields: object) -> Result:
    frame = np.full((*labels.shape, 3), 100, np.uint8)
    return Result(frame, labels, ("road", "sky", "car"), COLOURS, Times(1.0, 2.0, 0.5), **fields)  # type: ignore[arg-type]


def brightness_segmenter(shape: tuple[int | None, ...]) -> Segmenter:
    """Return a segmenter whose label is the channel with the largest value."""
    inputs = (Port("x", shape, np.dtype(np.float32)),)
    outputs = (Port("y", (shape[0], 3, *shape[2:]), np.dtype(np.float32)),)
    return Segmenter(FunctionEngine(lambda x: x, inputs, outputs), Metadata())


@pytest.fixture
def segmenter() -> Segmenter:
    return brightness_segmenter((1, 3, 8, 12))


def coloured(channel: int) -> Frame:
    frame = np.zeros((8, 12, 3), np.uint8)
    frame[..., channel] = 9
    return frame


def first_labels(results: list[Result]) -> list[int]:
    return [int(r.labels[0, 0]) for r in results]


@pytest.mark.parametrize("shape", SHAPES)
def test_rle_is_that_of_pycocotools(shape: tuple[int, int]) -> None:
    """The same bytes as cocoapi's C code, and the same masks back."""
    for seed in range(5):
        labels = random_labels(shape, seed=seed)
        codes = encode_labels(labels)
        assert sorted(codes) == np.unique(labels).tolist()
        for label, code in codes.items():
            mask = np.asfortranarray(labels == label, np.uint8)
            expected = coco_mask.encode(mask)
            assert code["counts"] == expected["counts"].decode()
            assert np.array_equal(coco_mask.decode(code), mask)


def test_rle_of_long_runs_is_that_of_pycocotools() -> None:
    labels = np.zeros((1500, 2000), np.uint8)
    labels[700:, 5:1200] = 2
    labels[0, 0] = 1
    for label, code in encode_labels(labels).items():
        mask = np.asfortranarray(labels == label, np.uint8)
        assert code["counts"] == coco_mask.encode(mask)["counts"].decode()


@pytest.mark.parametrize("shape", SHAPES)
def test_polygons_drawn_again_are_the_mask(shape: tuple[int, int]) -> None:
    for seed in range(5):
        labels = random_labels(shape, seed=seed)
        for label in np.unique(labels):
            drawn = np.zeros(shape, np.uint8)
            for polygon in find_polygons(labels, label):
                area = cv2.fillPoly(np.zeros(shape, np.uint8), [polygon.outline], 1)
                for hole in polygon.holes:
                    empty = cv2.fillPoly(np.zeros(shape, np.uint8), [hole], 1)
                    area -= cv2.polylines(empty, [hole], True, 0)
                drawn |= area
            assert np.array_equal(drawn, labels == label)


def test_document_is_read_by_pycocotools(tmp_path: Path) -> None:
    maps = [random_labels((20, 30), seed=seed) for seed in range(2)]
    results = [result(maps[0], path=Path("a.png")), result(maps[1], path=Path("v.mp4"), index=7)]
    (tmp_path / "out.json").write_text(to_coco(results))
    coco = COCO(tmp_path / "out.json")
    assert [image["file_name"] for image in coco.loadImgs([1, 2])] == ["a.png", "v.mp4"]
    assert [image.get("frame") for image in coco.loadImgs([1, 2])] == [None, 7]
    assert [row["name"] for row in coco.loadCats([0, 1, 2])] == ["road", "sky", "car"]
    for number, labels in enumerate(maps, start=1):
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[number])):
            mask = labels == annotation["category_id"]
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum()
            encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            assert annotation["bbox"] == coco_mask.toBbox(encoded).tolist()


def test_shares_name_what_occurs_the_largest_first() -> None:
    labels = np.array([[1, 1, 1, 0], [1, 1, 1, 200]], np.uint8)
    assert list(result(labels).shares.items()) == [
        ("sky", 0.75),
        ("road", 0.125),
        ("class_200", 0.125),
    ]
    assert result(labels).describe() == "2x4: sky 75 %, road 12 %, class_200 12 %, 3.5 ms"
    assert repr(result(labels, path=Path("in/a.png"))).startswith("<Result a.png 2x4: sky 75 %")


def test_classes_of_one_name_are_kept_apart() -> None:
    labels = np.array([[0, 1, 2]], np.uint8)
    found = replace(result(labels), classes=("void", "car", "void"))
    assert list(found.shares) == list(found.to_rle()) == ["void (0)", "car", "void (2)"]


def test_save_writes_what_the_suffix_says(tmp_path: Path) -> None:
    found = result(random_labels((20, 30)))
    found.save(tmp_path / "a.png")
    found.save(tmp_path / "a.JPG")
    found.save(tmp_path / "a.json")
    found.save_labels(tmp_path / "labels.png")
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png")), found.overlay(with_names=True))
    assert cv2.imread(str(tmp_path / "a.JPG")).shape[1] > 30  # with the legend
    assert json.loads((tmp_path / "a.json").read_text())["images"][0]["width"] == 30
    labels = cv2.imread(str(tmp_path / "labels.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, found.labels)
    before = sorted(tmp_path.iterdir())
    for name in ("a.txt", "a", "missing/a.png"):
        with pytest.raises(InputError, match="cannot write"):
            found.save(tmp_path / name)
    with pytest.raises(InputError, match=r"in \.png"):
        found.save_labels(tmp_path / "labels.jpg")
    assert sorted(tmp_path.iterdir()) == before


def test_notebooks_show_the_overlay() -> None:
    found = result(random_labels((20, 30)))
    picture = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(picture, found.overlay(with_names=True))


def test_call_gives_the_labels_of_segment(small_model: Path) -> None:
    frame = draw_scene(3, 90, 122).frame
    with load(small_model) as segmenter:
        found = segmenter(frame)
        assert np.array_equal(found.labels, segmenter.segment(frame))
        assert found.classes == segmenter.metadata.classes
    assert found.frame is frame
    assert (found.path, found.index, found.uncertainty) == (None, None, None)
    assert all(part > 0 for part in found.time_ms)
    assert found.time_ms.total == sum(found.time_ms)


def test_kind_of_source_decides_what_comes_back(segmenter: Segmenter, tmp_path: Path) -> None:
    """One frame gives a Result, a list a list, and all else an iterator."""
    frames = [coloured(channel) for channel in (2, 0, 1)]
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    path = tmp_path / "1.png"
    assert first_labels([segmenter(frames[0]), segmenter(path), segmenter(str(path))]) == [2, 0, 0]
    assert segmenter(path).path == path
    listed = segmenter([frames[1], tmp_path / "2.png"])
    assert isinstance(listed, list)
    assert first_labels(listed) == [0, 1]
    assert [r.index for r in listed] == [0, None]
    for source in (tmp_path, str(tmp_path), iter(frames)):
        found = segmenter(source)
        assert isinstance(found, Iterator)
        assert first_labels(list(found)) == [2, 0, 1]
    assert first_labels(list(segmenter(frames[0], stream=True))) == [2]
    assert first_labels(segmenter(tmp_path, stream=False)) == [2, 0, 1]
    assert first_labels(segmenter(frames[0], stream=False)) == [2]
    assert isinstance(segmenter(frames, stream=True), Iterator)


def test_video_is_read_frame_by_frame(segmenter: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "drive.avi"
    frames = [np.zeros((48, 64, 3), np.uint8) for _ in range(3)]
    for frame, channel in zip(frames, (2, 0, 1), strict=True):
        frame[..., channel] = 200
    write(path, frames, "mjpeg")
    found = segmenter(path)
    first = next(found)
    assert (first.path, first.index, int(first.labels[0, 0])) == (path, 0, 2)
    assert [(r.index, int(r.labels[0, 0])) for r in found] == [(1, 0), (2, 1)]


def test_folder_is_read_when_it_is_asked_for(segmenter: Segmenter, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), coloured(1))
    (tmp_path / "b.png").write_bytes(b"no image")
    found = segmenter(tmp_path)
    assert next(found).path == tmp_path / "a.png"
    with pytest.raises(UnreadableInputError, match=r"b\.png"):
        next(found)


@pytest.mark.parametrize("batch", [1, 2, None])
def test_series_is_segmented_in_batches(batch: int | None) -> None:
    sizes: list[int] = []

    def seen(x: Array) -> Array:
        sizes.append(len(x))
        return x

    ports = (Port("x", (batch, 3, None, None), np.dtype(np.float32)),)
    segmenter = Segmenter(FunctionEngine(seen, ports, ports), Metadata())
    small, large = coloured(1), np.zeros((16, 20, 3), np.uint8)
    found = segmenter([small, small, small, large])
    assert [r.labels.shape for r in found] == [(8, 12)] * 3 + [(16, 20)]
    assert first_labels(found) == [1, 1, 1, 0]
    assert sizes == ([2, 2, 2] if batch == 2 else [1] * 4)


@pytest.mark.parametrize("source", [None, 3, b"abc", np.zeros((4, 4), np.uint8), ["missing.png"]])
def test_other_sources_are_refused(segmenter: Segmenter, source: object) -> None:
    with pytest.raises(InputError, match=r"expected|no such"):
        segmenter(source)  # type: ignore[call-overload]
    with pytest.raises(InputError, match=r"no such image, folder or video: gone\.mp4"):
        segmenter("gone.mp4")


@pytest.mark.parametrize(
    "example", [encode_labels, find_polygons, labels_to_runs, labels_from_runs]
)
def test_examples_in_docstrings_run(example: Callable[..., object]) -> None:
    module = importlib.import_module(example.__module__)
    found = doctest.DocTestFinder().find(example, globs=dict(vars(module)))
    assert any(test.examples for test in found)
    assert not failures(found)
