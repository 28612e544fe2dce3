"""The kernels' own code, run thread by thread on the host, on the table of cases."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import cases
import kernel_report
import ml_dtypes
import numpy as np
import pytest
import torch
from torch.nn import functional as F

ROOT = Path(__file__).parents[2]
KINDS = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16, "int8": np.int8}
POISON = 0x5A


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("host") / "libhost.so"
    source = ROOT / "plugins/kernels/host_loop.cpp"
    command = ["c++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    command += ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    command += [f"-I{ROOT / 'plugins/include'}", str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = ctypes.CDLL(str(library))
    pointers = [ctypes.c_void_p] * 4
    sizes = [ctypes.c_int64] * 4
    rest = [*pointers, *sizes, ctypes.c_int]
    found.segnet_host_pair.argtypes = [ctypes.c_int, *rest]
    found.segnet_host_pair_last.argtypes = [ctypes.c_int, ctypes.c_int64, *rest]
    return found


def run(
    host: ctypes.CDLL, x: cases.Array, kind: str, ceil_mode: bool
) -> tuple[cases.Array, cases.Array, cases.Array]:
    """Return y, codes and the unpooled plane; outputs are poisoned first."""
    n, c, h, w = x.shape
    ho, wo = ((h + 1) // 2, (w + 1) // 2) if ceil_mode else (h // 2, w // 2)
    y, back = np.empty((n, c, ho, wo), x.dtype), np.empty_like(x)
    words = np.empty((n, -(-c // 16), ho, wo), np.int32)
    for array in (y, back, words):
        array.view(np.uint8)[...] = POISON
    pointers = (array.ctypes.data for array in (x, y, words, back))
    host.segnet_host_pair(list(KINDS).index(kind), *pointers, n, c, h, w, ceil_mode)
    return y, words, back


def run_last(
    host: ctypes.CDLL, x: cases.Array, kind: str, ceil_mode: bool, pitch: int
) -> tuple[cases.Array, cases.Array, cases.Array]:
    """Do the same channels last, padded to `pitch`; return NCHW arrays."""
    n, c, h, w = x.shape
    ho, wo = ((h + 1) // 2, (w + 1) // 2) if ceil_mode else (h // 2, w // 2)
    full = np.zeros((n, h, w, pitch), x.dtype)
    full[..., :c] = x.transpose(0, 2, 3, 1)
    y, back = np.empty((n, ho, wo, pitch), x.dtype), np.empty_like(full)
    words = np.empty((n, -(-c // 16), ho, wo), np.int32)
    for array in (y, back, words):
        array.view(np.uint8)[...] = POISON
    pointers = (array.ctypes.data for array in (full, y, words, back))
    index = list(KINDS).index(kind)
    host.segnet_host_pair_last(index, pitch, *pointers, n, c, h, w, ceil_mode)
    assert not back[..., c:].astype(np.float32).any()  # padding is written too
    return (
        np.ascontiguousarray(y[..., :c].transpose(0, 3, 1, 2)),
        words,
        np.ascontiguousarray(back[..., :c].transpose(0, 3, 1, 2)),
    )


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", [c for c in cases.CASES if c.values != "random"], ids=str)
def test_channels_last_code_equals_nchw(host: ctypes.CDLL, case: cases.PoolCase, kind: str) -> None:
    x = np.ascontiguousarray(np.clip(case.make(), -100, 100).astype(KINDS[kind]))
    expected = run(host, x, kind, case.ceil_mode)
    channels = x.shape[1]
    for pitch in {channels, -(-channels // 8) * 8}:
        got = run_last(host, x, kind, case.ceil_mode, pitch)
        for have, want in zip(got, expected, strict=True):
            assert np.array_equal(have, want)


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_kernel_code_equals_the_table(host: ctypes.CDLL, case: cases.PoolCase, kind: str) -> None:
    values = case.make()
    if kind == "int8":
        values = np.clip(np.nan_to_num(values * 20, posinf=127, neginf=-128), -128, 127)
    x = np.ascontiguousarray(values.astype(KINDS[kind]))
    y, words, back = run(host, x, kind, case.ceil_mode)
    expected, plane_index = cases.pool_reference(x.astype(np.float32), case.ceil_mode)
    assert np.array_equal(y.astype(np.float32), expected)
    size = (x.shape[2], x.shape[3])
    assert np.array_equal(
        back.astype(np.float32), cases.unpool_reference(expected, plane_index, size)
    )
    channels = np.arange(x.shape[1])
    bits = words[:, channels // 16].view(np.uint32) >> (2 * (channels % 16))[:, None, None]
    row, column = np.divmod(plane_index, x.shape[3])
    assert np.array_equal(bits & 3, 2 * (row % 2) + column % 2)


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_nan_is_kept_where_pytorch_keeps_it(host: ctypes.CDLL, kind: str, ceil_mode: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 17, 9, 10)).astype(np.float32)
    values[rng.random(values.shape) < 0.3] = np.nan
    x = values.astype(KINDS[kind])
    y, _, back = run(host, np.ascontiguousarray(x), kind, ceil_mode)
    t = torch.from_numpy(x.astype(np.float32))
    pooled, index = F.max_pool2d(t, 2, 2, ceil_mode=ceil_mode, return_indices=True)
    expected = F.max_unpool2d(pooled, index, [2, 2], [2, 2], output_size=[9, 10])
    assert np.array_equal(y.astype(np.float32), pooled.numpy(), equal_nan=True)
    assert np.array_equal(back.astype(np.float32), expected.numpy(), equal_nan=True)


@pytest.mark.needs("compiler")
def test_every_half_orders_as_its_value(host: ctypes.CDLL) -> None:
    """All 65536 bit patterns of fp16, each against its neighbour in a shuffled order."""
    bits = np.random.default_rng(0).permutation(65536).astype(np.uint16)
    x = bits.view(np.float16).reshape(1, 1, 128, 512)
    y, _, _ = run(host, np.ascontiguousarray(x), "fp16", False)
    pooled = F.max_pool2d(torch.from_numpy(x.astype(np.float32)), 2, 2)
    assert np.array_equal(y.astype(np.float32), pooled.numpy(), equal_nan=True)


@pytest.mark.needs("nvcc")
def test_kernels_compile_without_spills(tmp_path: Path) -> None:
    command = ["nvcc", "-std=c++17", "-arch=sm_87", "-Xptxas", "-v", "-c"]
    command += [f"-I{ROOT / 'plugins/include'}", str(ROOT / "plugins/kernels/kernels.cu")]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "kernels.o")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    spills = [line for line in done.stderr.splitlines() if "spill stores" in line]
    assert len(spills) >= 40
    assert all(
        "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in s for s in spills
    )


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return kernel_report.compile_recorder(tmp_path_factory.mktemp("recorder"))


def broken_recorder(folder: Path, change: tuple[str, str]) -> ctypes.CDLL:
    """Build the recorder with one place of the kernels changed."""
    sources = folder / "kernels"
    shutil.copytree(kernel_report.KERNELS, sources)
    texts = {path: path.read_text() for path in sources.iterdir()}
    assert any(change[0] in text for text in texts.values())
    for path, text in texts.items():
        path.write_text(text.replace(*change))
    return kernel_report.compile_recorder(folder, sources)


def record(
    library: ctypes.CDLL, unpool: bool, kind: str, layout: str, shape: tuple[int, ...]
) -> tuple[float, list[int]]:
    """Return bytes moved in sectors per byte needed, and least and most accesses to a byte."""
    row = kernel_report.record(library, unpool, kind, layout, shape)
    counts = [row[f"{part}_accesses"] for part in ("full", "pooled", "code")]
    return row["sector_bytes"] / row["needed_bytes"], [n for pair in counts for n in pair]


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("unpool", [False, True], ids=["pool", "unpool"])
@pytest.mark.parametrize("layout", kernel_report.LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 16, 12, 20), (1, 17, 9, 7), (1, 3, 5, 4)], ids=str)
def test_every_byte_is_read_and_written_once(
    recorder: ctypes.CDLL, shape: tuple[int, ...], kind: str, layout: str, unpool: bool
) -> None:
    _, counts = record(recorder, unpool, kind, layout, shape)
    assert counts[:4] == [1, 1, 1, 1]  # the full plane, the pooled plane
    assert counts[4] >= 1  # several threads may read one code word
    if not unpool:
        assert counts[4:] == [1, 1]


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("unpool", [False, True], ids=["pool", "unpool"])
@pytest.mark.parametrize("layout", kernel_report.LAYOUTS)
def test_wide_planes_move_little_more_than_they_need(
    recorder: ctypes.CDLL, layout: str, unpool: bool
) -> None:
    ratio, _ = record(recorder, unpool, "fp32", layout, (1, 64, 12, 480))
    assert ratio <= 1.05


BREAKS = {
    "double-write": (
        "store(corner + e / 2 * s.w + e % 2, out, 8 * k + 1 + static_cast<int>(e));",
        "store(corner + e / 2 * s.w, out, 8 * k + 1 + static_cast<int>(e));",
    ),
    "missed-write": (
        "if (2 * at.row + e / 2 >= s.h ||",
        "if (e == 3 || 2 * at.row + e / 2 >= s.h ||",
    ),
}


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("name", BREAKS)
def test_recorder_catches_a_broken_kernel(name: str, tmp_path: Path) -> None:
    broken = broken_recorder(tmp_path, BREAKS[name])
    _, counts = record(broken, True, "fp32", "NCHW", (1, 16, 9, 7))
    assert counts[:2] != [1, 1]


@pytest.mark.needs("compiler")
def test_recorder_catches_scattered_accesses(recorder: ctypes.CDLL, tmp_path: Path) -> None:
    scattered = (
        "const int64_t column = thread % columns, row = thread / columns % rows;",
        "const int64_t row = thread % rows, column = thread / rows % columns;",
    )
    broken = broken_recorder(tmp_path, scattered)
    shape = (1, 16, 64, 480)
    assert (
        record(broken, False, "fp32", "NCHW", shape)[0]
        > 2 * record(recorder, False, "fp32", "NCHW", shape)[0]
    )
