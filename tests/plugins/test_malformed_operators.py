"""Malformed uses of the native operators: an error each, and the process goes on."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import malformed_operators
import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

from segnet_deploy.native import max_unpool
from segnet_deploy.native.find import find_library
from segnet_deploy.passes import contract
from segnet_deploy.runtimes.onnxruntime import operator_library

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests/support"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a child, which a crash may end."""
    paths = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )


@pytest.mark.needs("ort-ops")
def test_a_size_that_is_missing_is_one_line(street: Path, tmp_path: Path) -> None:
    """The third input is there and empty, and there is no height and width."""
    pair = {"domain": contract.DOMAIN, "ceil_mode": 0}
    nodes = [
        h.make_node(contract.POOL, ["x"], ["y", "code"], name="pool", **pair),
        h.make_node(contract.UNPOOL, ["y", "code", ""], ["z"], name="unpool", **pair),
    ]
    shape = [1, 3, 32, 32]
    ends = [[h.make_tensor_value_info(name, T.FLOAT, shape)] for name in ("x", "z")]
    opsets = [h.make_opsetid("", 17), h.make_opsetid(contract.DOMAIN, 1)]
    model = tmp_path / "model.onnx"
    graph = h.make_graph(nodes, "test", *ends)
    onnx.save(h.make_model(graph, opset_imports=opsets, ir_version=8), model)
    options = ["--engine", str(model), "--runtime", "onnxruntime", "-o", str(tmp_path / "out")]
    program = "import sys; from segnet_deploy.cli.predict import main; sys.exit(main())"
    done = python("-c", program, str(street), *options)
    assert done.returncode == 1, done.stderr
    lines = done.stderr.splitlines()
    errors = [line for line in lines if "error" in line]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert "Name:'unpool'" in errors[0]
    assert "no size; expected the attributes height and width, or the input image" in errors[0]


@pytest.fixture(scope="module")
def messages() -> dict[str, str | None]:
    program = str(SUPPORT / "malformed_operators.py")
    done = python(program, str(operator_library()))
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.needs("ort-ops")
@pytest.mark.parametrize("use", malformed_operators.USES, ids=lambda use: use.name)
def test_malformed_node_is_an_error(
    messages: dict[str, str | None], use: malformed_operators.Use
) -> None:
    message = messages[use.name]
    assert message is not None
    assert use.message in message
    assert use.op in message
    assert "\n" not in message


@pytest.mark.needs("ort-ops")
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (1, 0, 4, 4), (1, 3, 0, 4), (1, 3, 4, 0)], ids=str)
def test_empty_tensors_are_legal(shape: tuple[int, ...]) -> None:
    library = str(operator_library())
    n, c, height, width = shape
    pooled, words = (n, c, height // 2, width // 2), (n, -(-c // 16), height // 2, width // 2)
    x = {"x": shape, "y": pooled, "code": words, "image": shape}
    pool = malformed_operators.Use("pool", contract.POOL, ("x",))
    assert [a.shape for a in malformed_operators.run(pool, library, x)] == [pooled, words]
    for inputs, attributes in (
        (("y", "code", "image"), {}),
        (("y", "code"), {"height": height, "width": width}),
    ):
        unpool = malformed_operators.Use("unpool", contract.UNPOOL, inputs, attributes)
        assert malformed_operators.run(unpool, library, x)[0].shape == shape


@pytest.mark.needs("ort-ops")
def test_a_full_plane_of_an_empty_pooled_plane_is_zero() -> None:
    shapes = {"y": (1, 3, 0, 1), "code": (1, 1, 0, 1), "image": (1, 3, 1, 3)}
    unpool = malformed_operators.Use("unpool", contract.UNPOOL, ("y", "code", "image"))
    found = malformed_operators.run(unpool, str(operator_library()), shapes)[0]
    assert np.array_equal(found, np.zeros((1, 3, 1, 3), np.float32))


@pytest.mark.needs("ort-ops", "real-processor")
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space with Linux calls")
def test_an_output_that_cannot_be_allocated_is_an_error() -> None:
    program = f"""
import resource
import malformed_operators as m
size = {{"y": (1, 1, 2048, 8192), "code": (1, 1, 2048, 8192)}}
use = m.Use("large", m.UNPOOL, ("y", "code"), {{"height": 4096, "width": 16384}}, shapes=size)
m.error(m.USES[0], {str(operator_library())!r})  # loads the libraries
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)  # inputs of 128 MB, x of 256
print(m.error(use, {str(operator_library())!r}))
"""
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    assert "alloc" in done.stdout.lower()


NO_MEMORY = r"""
#include <cstdio>
#include <cstdlib>
#include <new>
#include "segnet/cpu_two_bit_codes.h"
void* operator new[](std::size_t, const std::nothrow_t&) noexcept { return nullptr; }
int main() {
  using namespace segnet;
  const CpuPair pair{{1, 20, 2, 2, false}, CpuElement::kInt8, true};
  char x[80] = {}, y[20] = {};
  int32_t codes[2] = {};
  std::printf("%d %d", pool_part(pair, x, y, codes, 0, 1), unpool_part(pair, y, codes, x, 0, 1));
}
"""


@pytest.mark.needs("compiler", "real-processor")
def test_scratch_memory_that_cannot_be_allocated_is_an_error(tmp_path: Path) -> None:
    source, program = tmp_path / "main.cpp", tmp_path / "main"
    source.write_text(NO_MEMORY)
    sources = [str(source), str(ROOT / "plugins/cpu/two_bit_codes.cpp")]
    include = f"-I{ROOT / 'plugins/include'}"
    subprocess.run(["c++", "-std=c++17", include, *sources, "-o", str(program)], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout == "0 0"


def planes(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


WRONG_PLANES = {
    "values of another type": (planes(2, 4, 4, 1), planes(2, 2, 2, 1, dtype=np.int8)),
    "values of another shape": (planes(2, 4, 4, 1), planes(2, 1, 2, 1)),
    "three dimensions": (planes(2, 4, 4), planes(2, 2, 2)),
}


@pytest.mark.parametrize("name", WRONG_PLANES)
def test_wrong_planes_are_an_error(name: str) -> None:
    x, y = WRONG_PLANES[name]
    with pytest.raises(ValueError, match="expected"):
        max_unpool.pool(x, y, False)
    with pytest.raises(ValueError, match="expected"):
        max_unpool.unpool(y, np.zeros(y.shape, np.uint8), x, False)


def test_wrong_codes_and_logits_are_an_error() -> None:
    x, y = planes(2, 4, 4, 1), planes(2, 2, 2, 1)
    with pytest.raises(ValueError, match="codes of type int32; expected uint8"):
        max_unpool.unpool(y, np.zeros(y.shape, np.int32), x, False)
    with pytest.raises(ValueError, match="0 classes"):
        max_unpool.label_map(planes(0, 4, 4))
    with pytest.raises(ValueError, match=r"expected \(C, H, W\)"):
        max_unpool.label_map(planes(4, 4))


def test_arrays_that_must_not_be_written_stay_unchanged() -> None:
    x, y = planes(2, 4, 4, 1), planes(2, 2, 2, 1)
    codes = max_unpool.pool(x + 1, y, False)
    x.flags.writeable = y.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        max_unpool.pool(x, y, False)
    with pytest.raises(ValueError, match="read-only"):
        max_unpool.unpool(y, codes, x, False)
    assert not x.any()
    assert y.all()


def test_arrays_with_gaps_and_swapped_bytes_are_read_correctly() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 5, 6, 4)).astype(np.float32), planes(3, 3, 3, 4)
    codes = max_unpool.pool(x, y, True)
    expected = planes(3, 5, 6, 4)
    max_unpool.unpool(y, codes, expected, True)
    apart = np.full((3, 3, 3, 8), 3, np.uint8)
    apart[..., ::2] = codes
    swapped = x.astype(">f4")
    y_swapped, back = np.zeros_like(y, ">f4"), np.ones_like(x, ">f4")
    assert np.array_equal(max_unpool.pool(swapped, y_swapped, True), codes)
    assert np.array_equal(y_swapped, y)
    max_unpool.unpool(y_swapped, apart[..., ::2], back, True)
    assert np.array_equal(back, expected)


def test_codes_beyond_the_window_write_nothing() -> None:
    codes = np.array([4, 255, 2, 3], np.uint8).reshape(1, 1, 4, 1)  # the plane has one row
    x = np.ones((1, 1, 8, 1), np.float32)
    max_unpool.unpool(np.ones((1, 1, 4, 1), np.float32), codes, x, True)
    assert not x.any()


HUGE = 2**62
# element, planes, h, w, pack, full step, pooled step
WRONG_CALLS: dict[str, tuple[tuple[int, ...], int]] = {
    "element -1": ((-1, 1, 2, 2, 1, 4, 1), 1),
    "element 3": ((3, 1, 2, 2, 1, 4, 1), 1),
    "pack 3": ((0, 1, 2, 2, 3, 4, 1), 1),
    "pack -1": ((0, 1, 2, 2, -1, 4, 1), 1),
    "negative planes": ((0, -1, 2, 2, 1, 4, 1), 2),
    "negative height": ((0, 1, -2, 2, 1, 4, 1), 2),
    "negative width": ((0, 1, 2, -2, 1, 4, 1), 2),
    "negative plane": ((0, 1, -2, -2, 1, 4, 1), 2),
    "huge planes": ((0, HUGE, 2, 2, 1, 4, 1), 2),
    "huge height": ((0, 1, HUGE, 2, 1, 4, 1), 2),
    "huge product": ((0, 2**30, 2**30, 2**30, 16, 4, 1), 2),
    "huge steps": ((0, 4, 2, 2, 1, HUGE, HUGE), 2),
    "smallest step": ((0, 4, 2, 2, 1, -(2**63), -(2**63)), 2),
    "planes that overlap": ((0, 2, 4, 4, 1, 1, 1), 2),
}


@pytest.mark.parametrize("name", [*WRONG_CALLS, "null pointers"])
def test_wrong_calls_return_a_status(name: str) -> None:
    path = find_library("segnet_cpu")
    if path is None:
        pytest.skip("libsegnet_cpu was not built")
    library = ctypes.CDLL(str(path))
    (element, *sizes), status = WRONG_CALLS.get(name, ((0, 1, 2, 2, 1, 4, 1), 2))
    given = [None] * 3 if name == "null pointers" else [planes(64).ctypes.data] * 3
    for operation in (library.segnet_cpu_pool, library.segnet_cpu_unpool):
        pointers = map(ctypes.c_void_p, given)
        assert operation(element, *pointers, *map(ctypes.c_int64, sizes), 0, 2) == status


@pytest.mark.parametrize(("classes", "size"), [(0, 4), (257, 4), (-1, 4), (2, -4), (2, HUGE)])
def test_wrong_label_maps_return_a_status(classes: int, size: int) -> None:
    path = find_library("segnet_cpu")
    if path is None:
        pytest.skip("libsegnet_cpu was not built")
    operation = ctypes.CDLL(str(path)).segnet_cpu_labels
    pointers = [ctypes.c_void_p(planes(64).ctypes.data)] * 2
    assert operation(*pointers, *map(ctypes.c_int64, (classes, size, 4))) == 1
