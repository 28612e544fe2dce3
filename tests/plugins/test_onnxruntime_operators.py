"""The op pair as operators of ONNX Runtime, on the table of cases."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper as h

from segnet_deploy.passes import contract
from segnet_deploy.runtimes import onnxruntime
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.runtimes.onnxruntime import operator_library

ROOT = Path(__file__).parents[2]
TYPES = {"float32": T.FLOAT, "int8": T.INT8, "uint8": T.UINT8}


def session(dtype: str, last: bool, ceil_mode: bool) -> Any:
    """Return a session that pools x into y and code, and unpools them to the image's size as z."""
    import onnxruntime

    common = {"ceil_mode": int(ceil_mode), "channels_last": int(last), "domain": contract.DOMAIN}
    nodes = [
        h.make_node(contract.POOL, ["x"], ["y", "code"], **common),
        h.make_node(contract.UNPOOL, ["y", "code", "image"], ["z"], level=0, **common),
    ]

    def value(name: str, kind: int) -> Any:
        return h.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(4)])

    kind = TYPES[dtype]
    graph = h.make_graph(
        nodes,
        "test",
        [value("x", kind), value("image", T.FLOAT)],
        [value("y", kind), value("code", T.INT32), value("z", kind)],
    )
    opsets = [h.make_opsetid("", 17), h.make_opsetid(contract.DOMAIN, 1)]
    model = h.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 2
    options.register_custom_ops_library(str(operator_library()))
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def run(found: Any, x: Any, image: tuple[int, int]) -> Any:
    return found.run(None, {"x": x, "image": np.zeros((1, 1, *image), np.float32)})


@pytest.mark.needs("ort-ops")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_operators_equal_the_table(dtype: str, last: bool) -> None:
    sessions = {ceil: session(dtype, last, ceil) for ceil in (False, True)}
    for case in cases.CASES:
        x = cases.as_type(case.make(), np.dtype(dtype))
        pooled, plane_index = cases.pool_reference(x.astype(np.float32), case.ceil_mode)
        back = cases.unpool_reference(pooled, plane_index, x.shape[2:])
        x_in = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
        y, code, z = run(sessions[case.ceil_mode], x_in, x.shape[2:])
        if last:
            y, z = y.transpose(0, 3, 1, 2), z.transpose(0, 3, 1, 2)
        assert np.array_equal(y, pooled.astype(dtype)), case
        assert np.array_equal(
            code, cases.pack_codes(cases.codes_from_index(plane_index, x.shape[3]))
        ), case
        assert np.array_equal(z, back.astype(dtype)), case


@pytest.mark.needs("ort-ops")
def test_operators_select_the_last_nan_as_pytorch() -> None:
    import torch

    x = np.array([[[[1, np.nan, 2, 3], [np.nan, 5, np.nan, 1]]]], np.float32)
    y, index = torch.nn.functional.max_pool2d(torch.tensor(x), 2, return_indices=True)
    found = run(session("float32", False, False), x, (2, 4))
    assert np.array_equal(found[0], y.numpy(), equal_nan=True)
    assert np.array_equal(cases.unpack_codes(found[1], 1), cases.codes_from_index(index.numpy(), 4))


@pytest.mark.needs("ort-ops")
def test_wrong_sizes_are_an_error() -> None:
    with pytest.raises(Exception, match="input sizes differ from the pool's output sizes"):
        run(session("float32", False, False), np.zeros((1, 3, 4, 4), np.float32), (6, 4))


@pytest.mark.needs("compiler", "ort-headers")
def test_interface_equals_the_public_headers() -> None:
    include = Path(os.environ["ONNXRUNTIME_ROOT"]) / "include"
    folder = next(include.rglob("onnxruntime_c_api.h")).parent
    source = ROOT / "tests/plugins/ort_abi.cpp"
    command = ["c++", "-std=c++17", "-fsyntax-only", f"-I{folder}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("ort-ops")
@pytest.mark.parametrize("built_for_cuda", [False, True])
def test_cuda_provider_uses_the_operators_if_they_were_built_for_it(
    built_for_cuda: bool, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice alone: without the provider the session itself still runs on the CPU."""
    library = operator_library()
    assert library is not None
    monkeypatch.setattr(onnxruntime, "has_cuda", lambda: True)
    monkeypatch.setattr(onnxruntime, "runs_on_cuda", lambda path: built_for_cuda)
    with onnxruntime.open_file(ModelFile.read(small_model), 1) as engine:
        assert engine.operators == built_for_cuda


@pytest.mark.needs("ort-ops")
def test_operators_of_a_build_without_cuda_say_so() -> None:
    library = operator_library()
    assert library is not None
    assert not onnxruntime.runs_on_cuda(library)
