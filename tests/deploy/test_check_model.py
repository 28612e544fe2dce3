"""An ONNX model is checked once, where it enters: each kind of damage is one clear error."""

from __future__ import annotations

from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
from damaged_models import BAD, Proto, add_function, good, nested_metadata, node, size_of
from onnx import helper as h
from onnx import numpy_helper

from segnet_deploy import convert, load, runtimes
from segnet_deploy.cli import predict
from segnet_deploy.errors import InputError
from segnet_deploy.runtimes.model_file import ModelFile, load_model


def written(model: Proto, folder: Path) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("name", BAD)
def test_damaged_model_is_one_clear_error(name: str, tmp_path: Path) -> None:
    damage, words = BAD[name]
    model = good()
    damage(model)
    path = written(model, tmp_path)
    with pytest.raises(InputError, match=words):
        load_model(path)
    for use in (
        lambda: convert(path, tmp_path / "other.onnx", "lowered", "fp16"),
        lambda: load(path),
        lambda: ModelFile.read(path),
    ):
        with pytest.raises(InputError, match=words):
            use()
    assert list(tmp_path.iterdir()) == [path]


def test_command_reports_nested_metadata_in_one_line(
    tmp_path: Path, street: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = good()
    nested_metadata(model)
    path = written(model, tmp_path)
    assert predict.main(["--engine", str(path), str(street), "-o", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: metadata segnet.classes")
    assert len(message.splitlines()) == 1


def test_weights_that_are_inputs_too_run_in_every_runtime(tmp_path: Path) -> None:
    x = graphs.random_images(1)[0]
    expected = runtimes.open(written(good(), tmp_path), "onnxruntime").run(x).copy()
    model = good()
    for tensor in reversed(model.graph.initializer):
        info = h.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.insert(0, info)  # before the image
    model.ir_version = 3  # the versions that require it
    path = written(model, tmp_path)
    for name in runtimes.installed():
        with runtimes.open(path, name) as engine:
            assert [port.name for port in engine.inputs] == ["x"]
            assert np.allclose(engine.run(x), expected, atol=1e-5), name
    convert(path, tmp_path / "lowered.onnx", "lowered")
    with runtimes.open(tmp_path / "lowered.onnx", "onnxruntime") as engine:
        assert np.allclose(engine.run(x), expected, atol=1e-5)


def test_nodes_in_any_order_are_sorted(tmp_path: Path) -> None:
    x = graphs.random_images(1)[0]
    expected = runtimes.open(written(good(), tmp_path), "onnxruntime").run(x).copy()
    model = good()
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path = written(model, tmp_path)
    convert(path, tmp_path / "lowered.onnx", "lowered")
    for file, name in ((path, "onnxruntime"), (path, "ncnn"), (tmp_path / "lowered.onnx", "auto")):
        if name in ("auto", *runtimes.installed()):
            with runtimes.open(file, name) as engine:
                assert np.allclose(engine.run(x), expected, atol=1e-5), name


def test_negative_size_is_a_dynamic_one(tmp_path: Path) -> None:
    model = good()
    size_of(1, 3, -1, -1)(model)
    loaded = load_model(written(model, tmp_path))
    assert [isinstance(size, int) for size in loaded.graph.inputs[0].shape or ()] == [
        True,
        True,
        False,
        False,
    ]


def test_functions_of_the_file_are_accepted(tmp_path: Path) -> None:
    x = graphs.random_images(1)[0]
    expected = runtimes.open(written(good(), tmp_path), "onnxruntime").run(x).copy()
    model = good()
    body = [h.make_node("LeakyRelu", ["a"], ["b"])]
    add_function(model, "Rectify", "own", body)
    model.functions[0].attribute.append("alpha")
    attribute = model.functions[0].node[0].attribute.add(name="alpha", ref_attr_name="alpha")
    attribute.type = onnx.AttributeProto.FLOAT
    call = node(model, "Relu")
    call.op_type, call.domain = "Rectify", "own"
    call.attribute.append(h.make_attribute("alpha", 0.0))
    with runtimes.open(written(model, tmp_path)) as engine:
        assert np.allclose(engine.run(x), expected, atol=1e-5)


def test_values_in_typed_fields_are_accepted(tmp_path: Path) -> None:
    model = good()
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.ClearField("raw_data")
        field = tensor.float_data if array.dtype == np.float32 else tensor.int64_data
        field.extend(array.reshape(-1).tolist())
    load_model(written(model, tmp_path))


def test_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as stream:
        stream.truncate(2**31 + 1)
    with pytest.raises(InputError, match="larger than 2 GB"):
        load_model(path)
