"""Networks with several outputs: names, forms, precisions, runtimes, and what the gate refuses."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx_ir as ir
import pytest
import torch
from pooling_nets import OUTPUTS, SeveralOutputs, seeded
from small_segnet import ORT
from torch import Tensor, nn

from segnet_deploy import BuildOptions, build, convert, load, quantise, runtimes
from segnet_deploy.accuracy.agreement import Agreement, check_agreement, format_agreement
from segnet_deploy.accuracy.gate_inputs import InputMaker
from segnet_deploy.errors import InputError, ParityError, UnsupportedModelError
from segnet_deploy.geometry import place, restore_labels
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.scenes import draw_scene
from segnet_export import Trace, trace, write
from segnet_export.module_outputs import choose_outputs, name_tensors
from segnet_export.parity.gate import gate

RUNTIMES = [
    "onnxruntime",
    pytest.param("openvino", marks=pytest.mark.needs("openvino")),
    pytest.param("ncnn", marks=pytest.mark.needs("ncnn")),
]


@pytest.fixture(scope="module")
def traced() -> Trace:
    return trace(seeded(SeveralOutputs()), torch.zeros(1, 3, 21, 27))


@pytest.fixture(scope="module")
def exported(traced: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs") / "m.onnx"
    write(traced, path)
    return path


def frame() -> Any:
    return draw_scene(0, 42, 54).frame


@pytest.mark.parametrize("io", ["tensor", "frame"])
@pytest.mark.parametrize("form", ["standard", "lowered", "plugin"])
def test_every_form_and_io_has_every_output(
    form: str, io: str, traced: Trace, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    result = write(traced, path, form=form, io=io)
    label_output = "labels" if io == "frame" else OUTPUTS[0]
    model = load_model(path)
    assert [value.name for value in model.graph.outputs] == [label_output, *OUTPUTS[1:]]
    assert Metadata.from_props(dict(model.metadata_props)).label_output == label_output
    assert {row.runtime for row in result.gate.rows} >= {"onnxruntime"}
    for row in result.gate.rows:
        assert [output.name for output in row.outputs] == list(OUTPUTS[1:])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_returns_the_outputs_of_pytorch_by_name(
    runtime: str, traced: Trace, exported: Path
) -> None:
    with load(exported, runtime) as segmenter:
        found, labels = segmenter.run(frame()), segmenter.segment(frame())
        x = segmenter.preprocess([frame()]).x
    assert list(found) == [*OUTPUTS, "labels"]
    assert np.array_equal(found["labels"], labels)
    with torch.no_grad():
        expected = dict(zip(OUTPUTS, traced.module(torch.from_numpy(x)), strict=True))
    for name, value in expected.items():
        array = value[0].numpy()
        if array.shape[1:] == (21, 27):
            array = np.stack(
                [cv2.resize(p, (54, 42), interpolation=cv2.INTER_NEAREST_EXACT) for p in array]
            )
        np.testing.assert_allclose(found[name], array, atol=2e-5 * np.abs(array).max())


def test_run_crops_the_border_of_a_letterbox(exported: Path) -> None:
    source = draw_scene(0, 30, 90).frame
    with load(exported, "onnxruntime", fit="letterbox") as segmenter:
        found = segmenter.run(source)
        raw = segmenter.engine.run_all(segmenter.preprocess([source]).x)
    placement = place((30, 90), (21, 27), "letterbox")
    assert found["labels"].shape == (30, 90)
    expected = restore_labels(raw["image_output"][0, 0], placement)
    assert np.array_equal(found["image_output"][0], expected)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_keeps_every_output(precision: str, traced: Trace, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    result = write(traced, path, form="lowered", precision=precision, min_reduced=0.9)
    reduced = [row for row in result.gate.rows if not row.windows]
    assert reduced
    assert all(0.9 < output.kept < 1 for row in reduced for output in row.outputs)
    outputs = load_model(path).graph.outputs
    assert [value.name for value in outputs] == list(OUTPUTS)
    assert {value.dtype for value in outputs} == {ir.DataType.FLOAT}


def test_half_precision_that_loses_an_output_is_refused(traced: Trace, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"keeps only 100.00% of output '\w+'"):
        write(traced, tmp_path / "m.onnx", form="lowered", precision="fp16", min_reduced=1, **ORT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("tensorrt-rtx")
def test_engine_has_every_output(exported: Path, tmp_path: Path) -> None:
    built = build(exported, tmp_path / "m.trt", BuildOptions(targets=("sm86",), form="lowered"))
    assert [port["name"] for port in built.answer.ports] == ["image", *OUTPUTS]


def test_int8_keeps_every_output_in_every_runtime(exported: Path, tmp_path: Path) -> None:
    for seed in range(4):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), draw_scene(seed, 42, 54).frame)
    target = tmp_path / "int8.onnx"
    result = quantise(exported, target, tmp_path, min_agreement=0.8)
    assert {row.runtime for row in result.agreement} == set(runtimes.installed())
    for row in result.agreement:
        assert list(row.outputs) == list(OUTPUTS[1:])
        assert all(np.mean(shares) > 0.8 for shares in row.outputs.values())


def test_int8_file_that_loses_one_output_is_refused() -> None:
    found = [Agreement("ncnn", False, (1.0, 1.0), {"depth": (1.0, 1.0), "normals": (0.5, 0.9)})]
    check_agreement(found, 0.7, "int8", "advice")
    assert "values of normals" in format_agreement(found, "int8")
    with pytest.raises(ParityError, match=r"ncnn keeps only 70.00% of the values of 'normals'"):
        check_agreement(found, 0.8, "int8", "advice")


@pytest.mark.parametrize("form", ["lowered", "plugin"])
def test_conversion_compares_every_output(form: str, exported: Path, tmp_path: Path) -> None:
    result = convert(exported, tmp_path / "m.onnx", form)
    assert result.agreement > 0.99999
    assert [v.name for v in load_model(tmp_path / "m.onnx").graph.outputs] == list(OUTPUTS)


@pytest.mark.parametrize(("one", "other"), [(3, 4), (0, 3), (1, 2)])
def test_gate_refuses_swapped_outputs(
    one: int, other: int, traced: Trace, exported: Path, tmp_path: Path
) -> None:
    """Values under another output's name; of one shape, and of different shapes."""
    model = ir.load(exported)
    outputs = model.graph.outputs
    names = outputs[one].name, outputs[other].name
    outputs[one], outputs[other] = outputs[other], outputs[one]
    outputs[one].name = outputs[other].name = None
    outputs[one].name, outputs[other].name = names
    ir.save(model, tmp_path / "swapped.onnx")
    inputs = _inputs(traced)
    gate(exported, traced.module, inputs, **ORT)
    with pytest.raises(ParityError, match=f"'{names[0]}' differs"):
        gate(tmp_path / "swapped.onnx", traced.module, inputs, **ORT)


def test_gate_refuses_a_missing_output(traced: Trace, exported: Path, tmp_path: Path) -> None:
    model = ir.load(exported)
    model.graph.outputs.pop()
    ir.save(model, tmp_path / "fewer.onnx")
    with pytest.raises(ParityError, match="PyTorch returns 5 outputs but the file has 4"):
        gate(tmp_path / "fewer.onnx", traced.module, _inputs(traced), **ORT)


def _inputs(traced: Trace) -> list[Any]:
    maker = InputMaker(3, (0, 0, 0), (1, 1, 1), "bgr", "tensor")
    return [maker.natural((1, 21, 27))]


def test_named_outputs_are_exported_in_their_order(tmp_path: Path) -> None:
    net, example = seeded(SeveralOutputs()), torch.zeros(1, 3, 12, 10)
    traced = trace(net, example, outputs=["normals", "relu"])
    result = write(traced, tmp_path / "m.onnx", **ORT)
    assert traced.outputs == ("normals", "relu")
    assert traced.classes == 3
    assert result.metadata.label_output == "normals"
    with pytest.raises(InputError, match="has no output 'depth' of real numbers; it has: relu"):
        trace(net, example, outputs=["relu", "depth"])
    with pytest.raises(InputError, match="expected different names"):
        trace(net, example, outputs=["relu", "relu"])
    with pytest.raises(UnsupportedModelError, match=r"as 'aux_0'.*first in --outputs: relu, image"):
        trace(net, example, outputs=["aux_0"])


@dataclass
class Result:
    logits: Tensor
    depth: Tensor


Pair = namedtuple("Pair", ["seg", "depth"])
A, B = torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4)


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (A, ["logits"]),
        ((A, B), ["output_0", "output_1"]),
        ([A, (B, A)], ["output_0", "output_1_0", "output_1_1"]),
        ({"aux": B, "out": A}, ["aux", "out"]),
        ({0: A, "labels": B, "frame": B}, ["output_0", "labels_output", "frame_output"]),
        (Pair(A, B), ["seg", "depth"]),
        (Result(A, B), ["logits", "depth"]),
        ({"a_0": A, "a": [B]}, ["a_0", "a_0_output"]),
        (None, []),
    ],
)
def test_results_of_every_kind_have_names(result: Any, names: list[str]) -> None:
    assert list(name_tensors(result)) == names


def test_label_output_is_out_or_the_first_and_integers_are_left_out() -> None:
    assert choose_outputs({"aux": B, "out": A}, None) == ("out", "aux")
    assert choose_outputs({"index": A.long(), "seg": A, "same": A}, None) == ("seg",)
    with pytest.raises(InputError, match="no tensor of real numbers"):
        choose_outputs({"index": A.long()}, None)


def test_module_without_a_tensor_is_refused() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> None:
            return None

    with pytest.raises(InputError, match="returns no tensor of real numbers"):
        trace(Nothing(), torch.zeros(1, 3, 4, 4))
