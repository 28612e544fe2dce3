"""The CUDA kernels and the session on a GPU: bit-exact results, graphs, zero-copy arrays."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import cases
import cuda_kernels
import numpy as np
import pytest
import torch
from test_cuda_launch_sizes import run_launch_errors
from torch.nn import functional as F

pytestmark = pytest.mark.needs("gpu", "nvcc")
TYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.int8,
}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return cuda_kernels.build(tmp_path_factory.mktemp("kernels"))


def check(
    kernels: ctypes.CDLL,
    values: cases.Array,
    kind: str,
    layout: str,
    ceil_mode: bool,
    spread: bool = True,
) -> None:
    """Compare pool, codes and unpool with torch on the CPU; outputs are poisoned first."""
    n, c, h, w = values.shape
    if kind == "int8" and spread:
        values = cases.spread_over_int8(values)
    x = torch.from_numpy(np.ascontiguousarray(values)).to(TYPES[kind])
    wide = x.float()
    pooled, index = F.max_pool2d(wide, 2, 2, ceil_mode=ceil_mode, return_indices=True)
    expected = F.max_unpool2d(pooled, index, [2, 2], [2, 2], output_size=[h, w])
    pitch = -(-c // 8) * 8 if layout == "HWC8" else c
    ho, wo = pooled.shape[2:]
    full, small = (n, c, h, w), (n, c, ho, wo)
    if layout != "NCHW":
        full, small = (n, h, w, pitch), (n, ho, wo, pitch)
        padded = torch.zeros(full, dtype=x.dtype)
        padded[..., :c] = x.permute(0, 2, 3, 1)
        x = padded
    x = x.contiguous().cuda()
    y = torch.full(small, 77, dtype=x.dtype, device="cuda")
    back = torch.full(full, 77, dtype=x.dtype, device="cuda")
    codes = torch.full((n, -(-c // 16), ho, wo), 0x5A5A5A5A, dtype=torch.int32, device="cuda")
    pair = cuda_kernels.Pair(kernels, kind, layout, values.shape, ceil_mode)
    stream = torch.cuda.current_stream().cuda_stream
    pair.pool(x.data_ptr(), y.data_ptr(), codes.data_ptr(), stream)
    pair.unpool(y.data_ptr(), codes.data_ptr(), back.data_ptr(), stream)
    torch.cuda.synchronize()
    if layout != "NCHW":
        assert not back[..., c:].float().any()
        y, back = y[..., :c].permute(0, 3, 1, 2), back[..., :c].permute(0, 3, 1, 2)
    assert np.array_equal(y.float().cpu().numpy(), pooled.numpy(), equal_nan=True)
    assert np.array_equal(back.float().cpu().numpy(), expected.numpy(), equal_nan=True)
    found = cases.unpack_codes(codes.cpu().numpy(), c)
    assert np.array_equal(found, cases.codes_from_index(index.numpy(), w))


@pytest.mark.parametrize("layout", cuda_kernels.LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 17, 9, 7), (2, 33, 24, 26), (1, 3, 5, 4)], ids=str)
def test_int8_orders_negative_values(
    kernels: ctypes.CDLL, shape: tuple[int, ...], layout: str
) -> None:
    """Lanes of eight bits are compared as signed numbers."""
    values = np.random.default_rng(0).integers(-128, 128, shape).astype(np.float32)
    for ceil_mode in (False, True):
        check(kernels, values, "int8", layout, ceil_mode, spread=False)
        check(kernels, -np.abs(values), "int8", layout, ceil_mode, spread=False)


def test_launchers_report_their_own_errors_only(tmp_path: Path) -> None:
    answers = run_launch_errors(tmp_path, "native")
    assert len(answers) == 6
    assert set(answers.values()) == {"1"}, answers


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("layout", cuda_kernels.LAYOUTS)
def test_kernels_equal_torch_over_the_table(kernels: ctypes.CDLL, kind: str, layout: str) -> None:
    for case in cases.CASES:
        check(kernels, case.make(), kind, layout, case.ceil_mode)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("layout", cuda_kernels.LAYOUTS)
@pytest.mark.parametrize("shape", [*cases.LARGER, (1, 256, 90, 120), (2, 64, 360, 480)], ids=str)
def test_kernels_equal_torch_at_larger_sizes(
    kernels: ctypes.CDLL, kind: str, layout: str, shape: tuple[int, ...]
) -> None:
    values = np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)
    for ceil_mode in (False, True):
        check(kernels, values, kind, layout, ceil_mode)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("layout", cuda_kernels.LAYOUTS)
def test_nan_is_kept_where_torch_keeps_it(kernels: ctypes.CDLL, kind: str, layout: str) -> None:
    rng = np.random.default_rng(0)
    for shape in ((2, 17, 9, 10), (1, 16, 8, 64)):
        values = rng.standard_normal(shape).astype(np.float32)
        values[rng.random(shape) < 0.3] = np.nan
        check(kernels, values, kind, layout, True)


@pytest.fixture
def session(kernels: ctypes.CDLL):  # type: ignore[no-untyped-def]  # its type needs the cuda package
    from segnet_deploy.runtimes.base import Port
    from segnet_deploy.runtimes.tensorrt.session import Session

    shape = (1, 17, 45, 61)
    pair = cuda_kernels.Pair(kernels, "fp32", "NCHW", shape)
    f32, i32 = np.dtype(np.float32), np.dtype(np.int32)
    outputs = [
        Port("y", (1, 17, 23, 31), f32),
        Port("codes", (1, 2, 23, 31), i32),
        Port("back", shape, f32),
    ]
    opened = Session(pair, [Port("x", shape, f32)], outputs)
    yield opened
    opened.close()


def test_session_runs_directly_and_from_a_graph(session) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    before = None
    for _ in range(5):  # the first one runs directly, the others as a graph
        x = rng.standard_normal((1, 17, 45, 61)).astype(np.float32)
        out = session.run({"x": x})
        pooled, index = cases.pool_reference(x, True)
        assert np.array_equal(out["y"], pooled)
        assert np.array_equal(out["back"], cases.unpool_reference(pooled, index, (45, 61)))
        assert 0 < session.gpu_seconds < 1
        places = {name: array.ctypes.data for name, array in out.items()}
        assert before in (None, places)  # fixed buffers
        before = places
    assert session.captured


def test_session_executes_without_its_graph(session) -> None:  # type: ignore[no-untyped-def]
    from segnet_deploy.runtimes.tensorrt.cuda_objects import spin_wait

    x = np.random.default_rng(1).standard_normal((1, 17, 45, 61)).astype(np.float32)
    before = session.run({"x": x})["back"].copy()
    session.enqueue_directly()  # as a profiler needs it
    assert np.array_equal(session.run({"x": x})["back"], before)
    assert spin_wait() in ("auto", "spin", "yield", "blocking")


def test_session_accepts_and_returns_gpu_arrays(session) -> None:  # type: ignore[no-untyped-def]
    x = torch.randn(1, 17, 45, 61, device="cuda")
    for _ in range(2):
        out = session.run_on_device({"x": x})
        y = torch.as_tensor(out["y"], device="cuda")
        assert y.data_ptr() == out["y"].pointer  # no copy
        assert torch.equal(y, F.max_pool2d(x, 2, 2, ceil_mode=True))


class OnStream:
    """The CUDA Array Interface of a tensor that is computed on another stream."""

    def __init__(self, tensor: torch.Tensor, stream: int):
        self.__cuda_array_interface__ = {
            "shape": tuple(tensor.shape),
            "typestr": "<f4",
            "data": (tensor.data_ptr(), False),
            "stream": stream,
            "version": 3,
        }


@pytest.mark.parametrize("interface", ["dlpack", "array interface"])
def test_session_waits_for_the_stream_that_writes_its_input(session, interface: str) -> None:  # type: ignore[no-untyped-def]
    source = torch.randn(1, 17, 45, 61, device="cuda")
    expected = F.max_pool2d(source, 2, 2, ceil_mode=True)
    stream = torch.cuda.Stream()
    for _ in range(2):  # directly, then from the graph
        x = torch.zeros_like(source)
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)  # the producer is still at work
            x.copy_(source)
            value = x if interface == "dlpack" else OnStream(x, stream.cuda_stream)
            out = session.run_on_device({"x": value})
        assert torch.equal(torch.as_tensor(out["y"], device="cuda"), expected)


def test_capture_ignores_other_threads(session) -> None:  # type: ignore[no-untyped-def]
    """Work on the default stream and allocations of another thread do not break a capture."""
    from segnet_deploy.runtimes.tensorrt.cuda_objects import DeviceBuffer

    stop, busy = threading.Event(), torch.zeros(1 << 20, device="cuda")

    def work() -> None:
        while not stop.is_set():
            busy.add_(1)
            DeviceBuffer(1 << 20).close()

    other = threading.Thread(target=work)
    other.start()
    try:
        x = np.random.default_rng(2).standard_normal((1, 17, 45, 61)).astype(np.float32)
        for _ in range(3):
            session.run({"x": x})
    finally:
        stop.set()
        other.join()
    assert session.captured, session.capture_error


def test_dlpack_array_is_not_copied() -> None:
    from segnet_deploy.runtimes.tensorrt.device_arrays import device_array

    class OnlyDlpack:
        def __init__(self, tensor: torch.Tensor):
            self.tensor = tensor

        def __dlpack__(self, **options: object) -> object:
            return self.tensor.__dlpack__(**options)

        def __dlpack_device__(self) -> object:
            return self.tensor.__dlpack_device__()

    tensor = torch.arange(24, dtype=torch.float32, device="cuda").reshape(2, 3, 4)
    array = device_array(OnlyDlpack(tensor))
    assert (array.pointer, array.shape, array.dtype) == (tensor.data_ptr(), (2, 3, 4), np.float32)


def test_out_of_memory_error_reports_the_free_memory() -> None:
    from segnet_deploy.errors import EngineError
    from segnet_deploy.runtimes.tensorrt.cuda_objects import DeviceBuffer

    with pytest.raises(EngineError, match=r"out of GPU memory: .* MB requested, .* MB are free"):
        DeviceBuffer(1 << 46)
