"""Monte Carlo dropout in the graph: samples, their statistics, masks, forms and refusals."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from dropout_net import CHANNELS, CLASSES, dropout_net
from graphs import operators, random_images

from segnet_deploy import runtimes
from segnet_deploy.errors import EngineError, InputError, UnsupportedModelError
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.sample_dropout import sample_dropout
from segnet_deploy.passes.sampling_names import MAPS, PROBABILITIES
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_frame_io import to_frame_io
from segnet_deploy.passes.to_precision import to_precision
from segnet_deploy.passes.unpooling_pairs import find_pairs
from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.dropout_masks import DropoutMasks
from segnet_deploy.types import Array

SAMPLES = 3
SIZES = [(8, 10), (7, 9)]
needs_openvino = pytest.param("openvino", marks=pytest.mark.needs("openvino"))


def one_sample(size: tuple[int, int], masks: list[Array], x: Array) -> Array:
    """Run the network once in ONNX Runtime, its dropouts as products with scaled masks."""
    import onnxruntime

    proto = ir.to_proto(dropout_net(size))
    ratios = iter((0.5, 0.25))
    for node in proto.graph.node:
        if node.op_type == "Dropout":
            scaled = masks[0] / np.float32(1 - next(ratios))
            masks = masks[1:]
            name = f"{node.name}.mask"
            proto.graph.initializer.append(
                onnx.numpy_helper.from_array(scaled.astype(np.float32), name)
            )
            node.op_type, node.input[1] = "Mul", name
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    logits: Array = session.run(None, {"x": x})[0]
    return logits


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(1, keepdims=True)
    return probabilities


def statistics(logits: Array) -> dict[str, Array]:
    """Return what the file computes of (S, K, H, W) logits, in float64."""
    p = softmax(logits.astype(np.float64))
    mean = p.mean(0)

    def entropy(q: Array, axis: int) -> Array:
        result: Array = -(q * np.log(np.maximum(q, 1e-300))).sum(axis)
        return result

    total = entropy(mean, 0)
    maps = (p.var(0).mean(0), total, total - entropy(p, 1).mean(0), mean.max(0))
    return {PROBABILITIES: mean} | dict(zip(MAPS, maps, strict=True))


def write(path: Path, size: tuple[int, int], form: str = "standard") -> Path:
    sampled = sample_dropout(dropout_net(size), SAMPLES).model
    ir.save(to_form(sampled, form).model, path)
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime", needs_openvino])
@pytest.mark.parametrize("form", ["standard", "lowered", "plugin"])
@pytest.mark.parametrize("size", SIZES)
def test_samples_equal_single_runs_with_the_same_masks(
    size: tuple[int, int], form: str, runtime: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.onnx", size, form)
    x = random_images(1, size)[0]
    with runtimes.open(path, runtime) as engine:
        assert engine.masks is not None
        masks = list(engine.masks.next().values())
        engine.masks.frame = 0
        found = {name: np.array(value) for name, value in engine.run_all(x).items()}
    singles = [one_sample(size, [mask[s : s + 1] for mask in masks], x) for s in range(SAMPLES)]
    expected = statistics(np.concatenate(singles))
    assert list(found) == list(expected)
    assert expected["uncertainty"].max() > 1e-3
    for name, value in found.items():
        np.testing.assert_allclose(value[0], expected[name], atol=2e-6, err_msg=name)


def test_standard_form_is_valid_and_runs_in_onnxruntimes_own_operators(tmp_path: Path) -> None:
    from segnet_deploy.runtimes.model_file import ModelFile
    from segnet_deploy.runtimes.onnxruntime import open_file

    path, x = write(tmp_path / "m.onnx", (7, 9)), random_images(1, (7, 9))[0]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    with open_file(ModelFile.read(path), 1, False) as own:
        assert not own.lowered
        expected = np.array(own.run(x))
    with runtimes.open(path, "onnxruntime") as engine:
        np.testing.assert_array_equal(engine.run(x), expected)


def test_nodes_before_the_first_dropout_stay_single() -> None:
    sampled = sample_dropout(dropout_net((8, 10)), SAMPLES).model
    convolutions = [node for node in sampled.graph if node.op_type == "Conv"]
    assert [node.outputs[0].shape[0] for node in convolutions] == [1, SAMPLES, SAMPLES]
    assert operators(sampled).count("MaxPool") == 1
    assert [value.name for value in sampled.graph.inputs] == [
        *("x", "dropout_mask_0", "dropout_mask_1")
    ]
    metadata = Metadata.from_props(dict(sampled.metadata_props))
    assert (metadata.samples, metadata.dropout) == (SAMPLES, (0.5, 0.25))


def test_wrong_offset_of_repeated_indices_is_refused() -> None:
    sampled = sample_dropout(dropout_net((8, 10)), SAMPLES).model
    (pair,) = find_pairs(sampled.graph)
    (repeat,) = pair.repeats
    offsets = repeat.inputs[1]
    assert offsets is not None
    assert offsets.const_value is not None
    offsets.const_value = ir.tensor(offsets.const_value.numpy() + 1)
    with pytest.raises(UnsupportedModelError, match="also feed Add"):
        find_pairs(sampled.graph)


def test_frame_io_labels_are_those_of_the_mean(tmp_path: Path) -> None:
    sampled = sample_dropout(dropout_net((8, 10)), SAMPLES).model
    framed = to_frame_io(sampled, (1, 2, 3), (50, 50, 50), "bgr").model
    ir.save(sample_dropout(dropout_net((8, 10)), SAMPLES).model, tmp_path / "tensor.onnx")
    ir.save(framed, tmp_path / "frame.onnx")
    frame = np.random.default_rng(0).integers(0, 256, (1, 8, 10, 3)).astype(np.uint8)
    x = ((frame.transpose(0, 3, 1, 2) - np.array([1, 2, 3]).reshape(1, 3, 1, 1)) / 50).astype("f4")
    with (
        runtimes.open(tmp_path / "frame.onnx", "onnxruntime") as one,
        runtimes.open(tmp_path / "tensor.onnx", "onnxruntime") as other,
    ):
        found, tensors = one.run_all(frame), other.run_all(x)
        np.testing.assert_array_equal(found["labels"], tensors[PROBABILITIES].argmax(1))
        for name in MAPS:
            np.testing.assert_allclose(found[name], tensors[name], atol=1e-6)


def test_fp16_keeps_statistics_in_fp32(tmp_path: Path) -> None:
    sampled = sample_dropout(dropout_net((8, 10)), SAMPLES).model
    ir.save(sampled, tmp_path / "fp32.onnx")
    half = to_precision(to_form(sampled, "lowered").model, "fp16").model
    softmax_input = next(n for n in half.graph if n.op_type == "LogSoftmax").inputs[0]
    assert softmax_input is not None
    assert softmax_input.dtype == ir.DataType.FLOAT
    assert {value.dtype for value in half.graph.outputs} == {ir.DataType.FLOAT}
    masks = half.graph.inputs[1:]
    casts = [use.node for mask in masks for use in mask.uses()]
    assert {node.attributes["to"].as_int() for node in casts} == {ir.DataType.FLOAT16}
    ir.save(half, tmp_path / "fp16.onnx")
    x = random_images(1)[0]
    with (
        runtimes.open(tmp_path / "fp32.onnx", "onnxruntime") as one,
        runtimes.open(tmp_path / "fp16.onnx", "onnxruntime") as other,
    ):
        full, reduced = one.run_all(x), other.run_all(x)
        assert np.abs(full["uncertainty"] - reduced["uncertainty"]).max() < 2e-3


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_statistics_are_finite_for_large_logits(scale: float, tmp_path: Path) -> None:
    size = (8, 10)
    tested = dropout_net(size)
    weight = tested.graph.initializers["k.weight"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(scale))
    ir.save(sample_dropout(tested, SAMPLES).model, tmp_path / "m.onnx")
    with runtimes.open(tmp_path / "m.onnx", "onnxruntime") as engine:
        found = engine.run_all(random_images(1, size)[0])
    assert all(np.isfinite(value).all() and value.min() >= 0 for value in found.values())
    assert found["entropy"].max() <= np.log(CLASSES) + 1e-5
    assert found["uncertainty"].max() <= (1 - 1 / CLASSES) / CLASSES + 1e-5


def test_other_outputs_become_means(tmp_path: Path) -> None:
    tested = dropout_net((8, 10))
    values = {value.name: value for node in tested.graph for value in node.outputs}
    tested.graph.outputs.extend([values["t"], values["r"]])
    for name in ("t", "r"):
        values[name].type = ir.TensorType(ir.DataType.FLOAT)
    sampled = sample_dropout(tested, SAMPLES).model
    shapes = {str(v.name): tuple(v.shape or ()) for v in sampled.graph.outputs[-2:]}
    assert shapes == {"t": (1, CHANNELS, 4, 5), "r": (1, CHANNELS, 8, 10)}
    ir.save(sampled, tmp_path / "m.onnx")
    with runtimes.open(tmp_path / "m.onnx", "onnxruntime") as engine:
        assert np.isfinite(engine.run_all(random_images(1)[0])["t"]).all()


def test_ncnn_says_why_it_does_not_run_such_files(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    with pytest.raises(EngineError, match="samples its dropout"):
        runtimes.open(write(tmp_path / "m.onnx", (8, 10)), "ncnn")


@pytest.mark.parametrize("samples", [0, -1, 1001])
def test_number_of_samples_is_checked(samples: int) -> None:
    with pytest.raises(InputError, match=f"{samples} samples"):
        sample_dropout(dropout_net((8, 10)), samples)


def test_network_without_dropout_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="no dropout to sample; --dropout bayesian"):
        sample_dropout(dropout_net((8, 10), (0.0, 0.0)), SAMPLES)


def test_batch_of_images_is_refused() -> None:
    tested = dropout_net((8, 10))
    tested.graph.inputs[0].shape = ir.Shape(["n", 3, 8, 10])
    with pytest.raises(UnsupportedModelError, match="one image of static size"):
        sample_dropout(tested, SAMPLES)


def masks_of(ratio: float, seed: int = 0) -> DropoutMasks:
    return DropoutMasks([Port("dropout_mask_0", (8, 16, 9, 7), np.dtype(np.uint8))], [ratio], seed)


@pytest.mark.parametrize(
    ("ratio", "digest"), [(0.5, "half"), (0.2, "other")], ids=["one bit", "16 bits"]
)
def test_masks_depend_only_on_seed_and_frame(ratio: float, digest: str) -> None:
    masks, again = masks_of(ratio), masks_of(ratio)
    frames = [masks.next()["dropout_mask_0"] for _ in range(3)]
    again.frame = 2
    np.testing.assert_array_equal(again.next()["dropout_mask_0"], frames[2])
    assert (frames[0] != frames[1]).mean() > 0.2
    assert (masks_of(ratio, seed=1).next()["dropout_mask_0"] != frames[0]).mean() > 0.2
    assert set(np.unique(frames[0])) == {0, 1}
    assert abs(frames[0].mean() - (1 - ratio)) < 0.03
    found = hashlib.sha256(frames[0].tobytes()).hexdigest()[:16]
    assert found == DIGESTS[digest]


DIGESTS = {"half": "06355b0ab2f4f82b", "other": "4184d1cd304ec9cb"}
"""Of frame 0 with seed 0: the bits are the same in every version of numpy and on every machine."""
