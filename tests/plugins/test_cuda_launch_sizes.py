"""Sizes for which the CUDA launchers start nothing: empty, negative and too large."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cuda_kernels
import kernel_report
import numpy as np
import pytest
from test_cuda_kernels import compile_host

from segnet_deploy.system.cuda_driver import device_count

Shape = tuple[int, ...]
OPERATIONS = (0, 1)  # pool, unpool
KINDS = range(len(cuda_kernels.KINDS))
LAYOUTS = range(len(cuda_kernels.LAYOUTS))
ADDRESS = 4096  # aligned, and never read
INVALID_VALUE = 1  # cudaErrorInvalidValue
# One of narrow accesses, one of wide ones, one that floor mode pools to nothing.
FULL = ((2, 17, 9, 10), (1, 32, 4, 64), (1, 3, 1, 1))
HUGE = 2**63 - 1


def replaced(value: int) -> list[Shape]:
    """Return the shapes FULL with `value` on one axis or on several."""
    axes = [axes for count in range(1, 5) for axes in itertools.combinations(range(4), count)]
    return [
        tuple(value if axis in chosen else size for axis, size in enumerate(shape))
        for shape in FULL
        for chosen in axes
    ]


EMPTY = [*replaced(0), (0, HUGE, HUGE, HUGE), (HUGE, 0, HUGE, HUGE), (HUGE, HUGE, HUGE, 0)]
NEGATIVE = [*replaced(-1), *replaced(-(2**63)), (0, 1, 1, -1), (-1, 0, 1, 1)]
TOO_LARGE = [
    *replaced(HUGE),
    *replaced(2**36),  # products of two wrap to 0 in 64 bits
    *[(2**29, 16, 1, 1), (1, 16 * 2**29, 1, 1), (1, 1, 2**29, 1), (1, 1, 1, 2**29)],
    *[(1, 16, 2**15, 2**14), (1, 2**33 - 15, 1, 1), (2**16, 16 * 2**16, 2**16, 2**16)],
]


def calls() -> Iterator[Shape]:
    """Yield every operation, element type, layout and rounding."""
    yield from itertools.product(OPERATIONS, KINDS, LAYOUTS, (0, 1))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_host(tmp_path_factory.mktemp("host"))


def threads(
    host: ctypes.CDLL,
    call: Shape,
    shape: Shape,
    address: int | None = ADDRESS,
    processors: int = 0,
) -> int:
    *which, ceil_mode = call
    return int(host.segnet_host_threads(*which, address, *shape, ceil_mode, processors))


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty_plane_starts_no_thread(host: ctypes.CDLL, shape: Shape) -> None:
    for call in calls():
        assert threads(host, call, shape) == 0, call
        assert threads(host, call, shape, None) == 0, call
    for kind, layout in itertools.product(KINDS, LAYOUTS):
        assert host.segnet_host_pair(kind, layout, None, None, None, None, *shape, 1, 0) == 0


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("shape", [*NEGATIVE, *TOO_LARGE], ids=str)
def test_negative_and_too_large_planes_are_rejected(host: ctypes.CDLL, shape: Shape) -> None:
    for call in calls():
        assert threads(host, call, shape) == -1, call
    for kind, layout in itertools.product(KINDS, LAYOUTS):
        assert host.segnet_host_pair(kind, layout, *[ADDRESS] * 4, *shape, 1, 0) == 1


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("shape", FULL, ids=str)
def test_full_planes_need_addresses_and_known_types(host: ctypes.CDLL, shape: Shape) -> None:
    for call in calls():
        pools = call[3] or shape[2] > 1
        assert (threads(host, call, shape) > 0) == bool(pools or call[0])
        assert threads(host, call, shape, None) == -1
    for unpool, number in itertools.product(OPERATIONS, (-1, 4, 2**31 - 1, -(2**31))):
        assert threads(host, (unpool, number, 0, 1), shape) == -1
        assert threads(host, (unpool, 0, number, 1), shape) == -1
        assert threads(host, (unpool, 0, 3, 1), shape) == -1


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("count", [2**28, 2**29 - 1])
def test_largest_planes_number_their_threads_in_32_bits(host: ctypes.CDLL, count: int) -> None:
    """Images of one pixel have the most threads for their size: four for each code word."""
    for call in calls():
        if not call[0] and not call[3]:
            continue  # floor mode pools one pixel to nothing
        assert count <= threads(host, call, (count, 16, 1, 1)) < 2**32 - 128, call


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kind", cuda_kernels.KINDS)
def test_channels_are_divided_where_threads_are_few(host: ctypes.CDLL, kind: str) -> None:
    """SegNet's planes in NCHW, at batch 1, for a device of 132 processors."""
    wanted = 4 * 132 * 128
    for plane in kernel_report.SEGNET:
        call = (0, cuda_kernels.KINDS.index(kind), 0, 1)
        least, found = (threads(host, call, (1, *plane), processors=p) for p in (0, 132))
        assert found in (least, 2 * least, 4 * least)
        assert found == 4 * least or found >= wanted, plane
        assert found == least or found < 2 * wanted, plane


@pytest.mark.needs("compiler")
def test_recorder_accepts_empty_planes(tmp_path: Path) -> None:
    library = kernel_report.compile_recorder(tmp_path)
    result = np.zeros(10, np.int64)
    for (*which, ceil_mode), shape in itertools.product(calls(), replaced(0)):
        assert library.segnet_record(*which, *shape, ceil_mode, 0, result.ctypes.data) == 0
        assert not result.any()
    for (*which, ceil_mode), shape in itertools.product(calls(), (*NEGATIVE, *TOO_LARGE)):
        assert library.segnet_record(*which, *shape, ceil_mode, 0, result.ctypes.data) == 1


@pytest.mark.needs("nvcc")
def test_launchers_answer_without_a_device(tmp_path: Path) -> None:
    """The compiled launchers: empty planes succeed on a machine without a GPU or driver."""
    library = cuda_kernels.build(tmp_path, "sm_75")
    for call in calls():
        unpool, *which, ceil_mode = call
        launch = library.segnet_max_unpool if unpool else library.segnet_max_pool
        for shape in EMPTY:
            assert launch(*which, None, None, None, *shape, ceil_mode, None) == 0, (call, shape)
        for shape in (*NEGATIVE, *TOO_LARGE):
            code = launch(*which, *[ADDRESS] * 3, *shape, ceil_mode, None)
            assert code == INVALID_VALUE, (call, shape)
        assert launch(*which, None, None, None, *FULL[0], ceil_mode, None) == INVALID_VALUE


def run_launch_errors(folder: Path, architecture: str) -> dict[str, str]:
    """Compile drive_launch_errors.cu with the launchers, run it and return its lines."""
    sources = [str(Path(__file__).with_name("drive_launch_errors.cu"))]
    sources.append(str(cuda_kernels.ROOT / "plugins/cuda/kernels.cu"))
    command = ["nvcc", "-std=c++17", f"-arch={architecture}", *sources]
    command += [f"-I{cuda_kernels.ROOT / 'plugins/include'}", "-o", str(folder / "drive")]
    subprocess.run(command, check=True)
    done = subprocess.run([folder / "drive"], capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.needs("nvcc")
def test_failed_launch_is_an_error(tmp_path: Path) -> None:
    architecture = "native" if device_count() else "sm_75"
    assert run_launch_errors(tmp_path, architecture)["failure-is-returned"] == "1"
