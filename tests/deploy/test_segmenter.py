"""The segmenter, frames to label maps: fitting, normalisation and batching in each runtime."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import graphs
import numpy as np
import pytest
from onnx import helper as h

from segnet_deploy import InputError, UnsupportedModelError, load, runtimes
from segnet_deploy.errors import EngineError
from segnet_deploy.frames.damage import is_complete_jpeg
from segnet_deploy.geometry import fit_frame, place, restore_labels
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes import onnxruntime
from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.function_engine import FunctionEngine
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.types import Array

RUNTIMES = ("onnxruntime", "openvino")


def function_engine(
    function: Callable[[Array], Array],
    shape: tuple[int | None, ...] = (1, 3, 8, 12),
    classes: int = 3,
) -> FunctionEngine:
    """Return an engine that calls `function` on (N, 3, H, W) and returns logits."""
    inputs = (Port("x", shape, np.dtype(np.float32)),)
    outputs = (Port("y", (shape[0], classes, *shape[2:]), np.dtype(np.float32)),)
    return FunctionEngine(function, inputs, outputs)


def test_labels_come_back_at_source_size() -> None:
    segmenter = Segmenter(function_engine(lambda x: x), Metadata())
    labels = segmenter.segment(draw_scene(0, 31, 47).frame)
    assert labels.shape == (31, 47)
    assert labels.dtype == np.uint8


def test_normalisation_follows_the_metadata() -> None:
    seen: list[Array] = []
    engine = function_engine(lambda x: seen.append(x.copy()) or x)
    metadata = Metadata(mean=(1, 2, 3), std=(2, 4, 8), channel_order="rgb")
    frame = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    Segmenter(engine, metadata).segment(frame)
    expected = (frame[..., ::-1] - np.array([1, 2, 3], "f4")) / np.array([2, 4, 8], "f4")
    np.testing.assert_allclose(seen[0][0], expected.transpose(2, 0, 1), rtol=1e-6)


def test_argmax_takes_the_first_of_equal_logits() -> None:
    logits = np.random.default_rng(0).integers(0, 3, (1, 7, 8, 12)).astype(np.float32)
    segmenter = Segmenter(function_engine(lambda _: logits, classes=7), Metadata())
    assert np.array_equal(segmenter.segment(np.zeros((8, 12, 3), np.uint8)), logits[0].argmax(0))


@pytest.mark.parametrize("source", [(8, 12), (30, 20), (5, 50), (1, 1)])
def test_letterbox_keeps_the_aspect_and_finds_back(source: tuple[int, int]) -> None:
    placement = place(source, (8, 12), "letterbox")
    frame = np.full((*source, 3), 200, np.uint8)
    plane = fit_frame(frame, (8, 12), placement, (1, 2, 3))
    assert plane.shape == (8, 12, 3)
    inside = (plane == 200).all(2)
    assert inside.sum() == placement.size[0] * placement.size[1]
    labels = inside.astype(np.uint8) * 7
    assert (restore_labels(labels, placement) == 7).all()
    assert restore_labels(labels, placement).shape == source


def test_batches_fill_up_and_keep_their_order() -> None:
    sizes: list[int] = []
    engine = function_engine(lambda x: sizes.append(len(x)) or x, (2, 3, 8, 12))
    frames = [np.full((8, 12, 3), 0, np.uint8) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame[..., number] = 9
    labels = Segmenter(engine, Metadata()).segment_batch(frames)
    assert [int(m[0, 0]) for m in labels] == [0, 1, 2]
    assert sizes == [2, 2]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_exported_file_gives_the_same_labels_in_each_runtime(
    small_model: Path, runtime: str
) -> None:
    frame = draw_scene(3, 90, 122).frame
    with load(small_model, "onnxruntime") as reference, load(small_model, runtime) as segmenter:
        assert segmenter.metadata.classes[0] == "class_0"
        assert segmenter.size == (45, 61)
        agreement = (segmenter.segment(frame) == reference.segment(frame)).mean()
    assert agreement >= 0.999


def test_auto_takes_an_installed_runtime(small_model: Path) -> None:
    engine = runtimes.open(small_model)
    assert engine.name == runtimes.installed()[0]
    engine.close()


@pytest.mark.parametrize("progressive", [0, 1])
def test_jpeg_is_whole_up_to_its_own_end(progressive: int) -> None:
    """An embedded preview or a video after the image does not matter; missing data does."""
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, 4]
    data = cv2.imencode(".jpg", draw_scene(1, 60, 80).frame, flags)[1].tobytes()
    preview = data[:2] + b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data + data[2:]
    for image in (data, preview):
        assert is_complete_jpeg(image)
        assert is_complete_jpeg(image + b"ftypmp42 \xff\xda \xff\xd8 and no end")
        for length in (len(image) - 2, len(image) - 300, len(image) - len(data) // 2, 40):
            assert not is_complete_jpeg(image[:length])


@pytest.mark.needs("openvino")
def test_outputs_have_the_files_names_in_each_runtime(tmp_path: Path) -> None:
    """OpenVINO has several names for the output, including `aaa` from before the Identity."""
    nodes = [
        h.make_node("Relu", ["x"], ["aaa"]),
        h.make_node("Identity", ["aaa"], ["logits"]),
        h.make_node("Sigmoid", ["aaa"], ["chance"]),
    ]
    shape = [1, 3, 4, 4]
    model = graphs.model(nodes, {"x": shape}, {"logits": shape, "chance": shape})
    graphs.ir.save(model, tmp_path / "m.onnx")
    x = np.ones(shape, np.float32)
    for runtime in ("openvino", "onnxruntime"):
        engine = runtimes.open(tmp_path / "m.onnx", runtime)
        assert [port.name for port in engine.outputs] == ["logits", "chance"]
        outputs = engine.run_all(x)
        assert np.allclose(outputs["logits"], 1)
        assert np.allclose(outputs["chance"], 0.7310586)


def test_file_that_a_runtime_refuses_is_lowered_at_load(tmp_path: Path) -> None:
    path = tmp_path / "ceil.onnx"
    pair = graphs.standard_pair((1, 3, 45, 60), True)
    del pair.graph.outputs[0]
    graphs.ir.save(pair, path)
    x = np.random.default_rng(0).standard_normal((1, 3, 45, 60)).astype(np.float32)
    results = []
    openvino = runtimes.open(path, "openvino")
    own = onnxruntime.open_file(ModelFile.read(path), None, operators=False)
    for engine in (openvino, own):
        results.append(np.array(engine.run(x)))
        assert engine.lowered
        assert {"z"} == set(engine.run_all(x))
    assert np.array_equal(*results)


@pytest.mark.needs("openvino")
def test_pair_that_cannot_be_lowered_is_openvinos_refusal(tmp_path: Path) -> None:
    path = tmp_path / "three.onnx"
    pair = graphs.standard_pair((1, 3, 9, 12), False)
    for node in pair.graph:
        if "kernel_shape" in node.attributes:
            node.attributes["kernel_shape"] = graphs.ir.AttrInt64s("kernel_shape", [3, 3])
            node.attributes["strides"] = graphs.ir.AttrInt64s("strides", [2, 2])  # they overlap
    graphs.ir.save(pair, path)
    with pytest.raises(EngineError, match=r"openvino does not support .*kernel \[3, 3\]"):
        runtimes.open(path, "openvino")


def _save(path: Path, shape: list[int | str], out: list[int | str]) -> Path:
    nodes = [h.make_node("Identity", ["x"], ["y"])]
    graphs.ir.save(graphs.model(nodes, {"x": shape}, {"y": out}), path)
    return path


@pytest.mark.parametrize(
    ("shape", "out"), [([1, 10], [1, 10]), ([1, 4, 8, 8], [1, 4, 8, 8]), ([1, 3], [1, 3])]
)
def test_no_segmentation_net_is_refused(
    tmp_path: Path, shape: list[int | str], out: list[int | str]
) -> None:
    with pytest.raises(UnsupportedModelError, match="not a segmentation model"):
        load(_save(tmp_path / "m.onnx", shape, out))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x01" * 50])
def test_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.onnx"):
        load(path)


def test_bad_arguments_are_named(small_model: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load("missing.onnx")
    with pytest.raises(InputError, match="tpu"):
        load(small_model, "tpu")
    with pytest.raises(InputError, match="crop"):
        load(small_model, fit="crop")
    with pytest.raises(InputError, match="threads 0"):
        load(small_model, threads=0)
    with load(small_model) as segmenter:
        for frame in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), None):
            with pytest.raises(InputError, match="expected"):
                segmenter.segment(frame)  # type: ignore[arg-type]


def test_labels_stay_when_the_engine_runs_again(small_model: Path) -> None:
    with load(small_model, "onnxruntime") as segmenter:
        first = segmenter.segment(draw_scene(0, 45, 61).frame)
        kept = first.copy()
        segmenter.segment(draw_scene(1, 45, 61).frame)
        assert np.array_equal(first, kept)


def test_resize_is_bilinear() -> None:
    frame = draw_scene(0, 30, 40).frame
    placement = place((30, 40), (15, 20), "stretch")
    expected = cv2.resize(frame, (20, 15), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(fit_frame(frame, (15, 20), placement, (0, 0, 0)), expected)


def test_model_is_loaded_from_bytes_and_file_objects(small_model: Path) -> None:
    frame = draw_scene(3, 45, 61).frame
    with load(small_model, "onnxruntime") as segmenter:
        expected = segmenter.segment(frame)
    data = small_model.read_bytes()
    with small_model.open("rb") as stream:
        for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), stream):
            with load(source, "onnxruntime") as segmenter:
                assert np.array_equal(segmenter.segment(frame), expected)
                assert segmenter.metadata.classes[0] == "class_0"
                temporary = segmenter._temporary
                assert temporary is not None
                assert temporary.path.exists()
            assert not temporary.path.exists()


def test_bytes_that_are_no_model_are_named(small_model: Path, tmp_path: Path) -> None:
    """Errors name what was given, not the temporary file, which is removed."""
    (tmp_path / "m.onnx").write_bytes(b"hello")
    with (tmp_path / "m.onnx").open("rb") as stream, pytest.raises(InputError) as error:
        load(stream)
    assert str(error.value).startswith(f"{tmp_path / 'm.onnx'} is not an ONNX file")
    with pytest.raises(InputError, match=r"^the model \(5 bytes\) is not an ONNX file"):
        load(b"hello")
    with pytest.raises(InputError, match=r"^the file object is not an ONNX file"):
        load(io.BytesIO(b"hello"))
    with (tmp_path / "m.onnx").open() as text, pytest.raises(InputError, match="mode 'rb'"):
        load(text)  # type: ignore[arg-type]
    closed = io.BytesIO(b"hello")
    closed.close()
    with pytest.raises(InputError, match="closed file"):
        load(closed)
    for source in (None, 3, np.zeros(3)):
        with pytest.raises(InputError, match="expected a path"):
            load(source)  # type: ignore[arg-type]
