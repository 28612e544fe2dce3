"""The CUDA kernels' code, run thread by thread on the host, on the table of cases."""

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
import sass
import torch
from torch.nn import functional as F

ROOT = Path(__file__).parents[2]
KINDS = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16, "int8": np.int8}
POISON = 0x5A
PROCESSORS = (0, 132)  # work as little divided as possible, and for 132 multiprocessors
KERNELS = 64  # 2 operations, 2 layouts, and 3, 4, 4, 5 access widths of fp32, fp16, bf16, int8


def compile_host(folder: Path, kernels: Path = kernel_report.KERNELS) -> ctypes.CDLL:
    library = folder / "libhost.so"
    command = ["c++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    command += ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    command += [f"-I{ROOT / 'plugins/include'}", f"-I{kernels}"]
    command.append(str(ROOT / "plugins/tools/host_loop.cpp"))
    done = subprocess.run(
        [*command, "-o", str(library)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = ctypes.CDLL(str(library))
    found.segnet_host_pair.argtypes = [
        *[ctypes.c_int] * 2,
        *[ctypes.c_void_p] * 4,
        *[ctypes.c_int64] * 4,
        *[ctypes.c_int] * 2,
    ]
    found.segnet_host_threads.argtypes = [
        *[ctypes.c_int] * 3,
        ctypes.c_void_p,
        *[ctypes.c_int64] * 4,
        *[ctypes.c_int] * 2,
    ]
    found.segnet_host_threads.restype = ctypes.c_int64
    return found


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_host(tmp_path_factory.mktemp("host"))


def run(
    host: ctypes.CDLL,
    x: cases.Array,
    kind: str,
    ceil_mode: bool,
    layout: str = "NCHW",
    processors: int = 0,
) -> tuple[cases.Array, cases.Array, cases.Array]:
    """Return y, codes and the unpooled plane in NCHW; outputs are poisoned first."""
    n, c, h, w = x.shape
    ho, wo = ((h + 1) // 2, (w + 1) // 2) if ceil_mode else (h // 2, w // 2)
    pitch = -(-c // 8) * 8 if layout == "HWC8" else c
    if layout == "NCHW":
        full, y = np.ascontiguousarray(x), np.empty((n, c, ho, wo), x.dtype)
    else:
        full, y = np.zeros((n, h, w, pitch), x.dtype), np.empty((n, ho, wo, pitch), x.dtype)
        full[..., :c] = x.transpose(0, 2, 3, 1)
    back, words = np.empty_like(full), np.empty((n, -(-c // 16), ho, wo), np.int32)
    for array in (y, back, words):
        array.view(np.uint8)[...] = POISON
    pointers = (array.ctypes.data for array in (full, y, words, back))
    index = list(KINDS).index(kind), kernel_report.LAYOUTS.index(layout)
    assert host.segnet_host_pair(*index, *pointers, n, c, h, w, ceil_mode, processors) == 0
    if layout == "NCHW":
        return y, words, back
    assert not back[..., c:].astype(np.float32).any()  # the padding is written
    first, last = y[..., :c].transpose(0, 3, 1, 2), back[..., :c].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(first), words, np.ascontiguousarray(last)


def check(
    host: ctypes.CDLL,
    x: cases.Array,
    kind: str,
    ceil_mode: bool,
    layout: str,
    processors: int = 0,
) -> None:
    """Compare values, codes and the unpooled planes with numpy's."""
    y, words, back = run(host, x, kind, ceil_mode, layout, processors)
    expected, plane_index = cases.pool_reference(x.astype(np.float32), ceil_mode)
    assert np.array_equal(y.astype(np.float32), expected)
    size = (x.shape[2], x.shape[3])
    assert np.array_equal(
        back.astype(np.float32), cases.unpool_reference(expected, plane_index, size)
    )
    codes = cases.unpack_codes(words, x.shape[1])
    assert np.array_equal(codes, cases.codes_from_index(plane_index, x.shape[3]))
    if rest := x.shape[1] % 16:
        assert not (words[:, -1].view(np.uint32) >> (2 * rest)).any()  # no stray bits


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_kernel_code_equals_the_table(host: ctypes.CDLL, case: cases.PoolCase, kind: str) -> None:
    values = case.make()
    if kind == "int8":
        values = cases.spread_over_int8(values)
    x = np.ascontiguousarray(values.astype(KINDS[kind]))
    for layout in kernel_report.LAYOUTS:
        for processors in PROCESSORS:
            check(host, x, kind, case.ceil_mode, layout, processors)


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", cases.LARGER, ids=str)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_every_access_width_is_exact(
    host: ctypes.CDLL, shape: tuple[int, ...], kind: str, ceil_mode: bool
) -> None:
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(KINDS[kind])
    for layout in kernel_report.LAYOUTS:
        for processors in PROCESSORS:
            check(host, x, kind, ceil_mode, layout, processors)


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
    """All 65536 bit patterns of fp16, each compared with its neighbour in a shuffled order."""
    bits = np.random.default_rng(0).permutation(65536).astype(np.uint16)
    x = bits.view(np.float16).reshape(1, 1, 128, 512)
    y, _, _ = run(host, np.ascontiguousarray(x), "fp16", False)
    pooled = F.max_pool2d(torch.from_numpy(x.astype(np.float32)), 2, 2)
    assert np.array_equal(y.astype(np.float32), pooled.numpy(), equal_nan=True)


@pytest.mark.needs("nvcc")
def test_kernels_compile_without_spills(tmp_path: Path) -> None:
    command = ["nvcc", "-std=c++17", "-arch=sm_87", "-Xptxas", "-v", "-c"]
    command += [f"-I{ROOT / 'plugins/include'}", str(ROOT / "plugins/cuda/kernels.cu")]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "kernels.o")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    spills = [line for line in done.stderr.splitlines() if "spill stores" in line]
    assert len(spills) == KERNELS
    assert all(
        "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in s for s in spills
    )


@pytest.mark.needs("nvcc")
def test_machine_code_reads_and_writes_128_bits(tmp_path: Path) -> None:
    if sass.tools() is None:
        pytest.skip("no cuobjdump: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
    sources = kernel_report.KERNELS / "kernels.cu"
    found = sass.kernels(sources, ROOT / "plugins/include", 87, tmp_path)
    assert len(found) == KERNELS
    for kernel in found:
        assert kernel["local_accesses"] == 0
        bits = 8 * kernel["width"] * np.dtype(KINDS[kernel["type"]]).itemsize
        assert kernel["accesses"][f"{'LDG' if kernel['op'] == 'pool' else 'STG'}.{bits}"] > 0


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return kernel_report.compile_recorder(tmp_path_factory.mktemp("recorder"))


def broken(folder: Path, change: tuple[str, str]) -> Path:
    """Return a copy of the kernels with the text change[0] replaced by change[1]."""
    sources = folder / "kernels"
    shutil.copytree(kernel_report.KERNELS, sources)
    texts = {path: path.read_text() for path in sources.iterdir()}
    assert any(change[0] in text for text in texts.values())
    for path, text in texts.items():
        path.write_text(text.replace(*change))
    return sources


def record(
    library: ctypes.CDLL,
    unpool: bool,
    kind: str,
    layout: str,
    shape: tuple[int, ...],
    processors: int = 0,
) -> tuple[float, list[int]]:
    """Return bytes moved in sectors per byte needed, and the extremes of accesses to a byte."""
    row = kernel_report.record(library, unpool, kind, layout, shape, processors)
    assert row["unaligned"] == 0
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
    for processors in PROCESSORS:
        _, counts = record(recorder, unpool, kind, layout, shape, processors)
        assert counts[:4] == [1, 1, 1, 1]  # the full plane, the pooled plane
        assert counts[4] >= 1  # in NCHW, all threads of a window read its code word
        if not unpool or layout != "NCHW":
            assert counts[4:] == [1, 1]


# SegNet's planes at 360x480 with fewer channels or rows, and sizes with partial sectors and words.
# The largest ratio in NCHW and channels last. Short rows of NCHW share sectors with other warps';
# the caches merge them: an H200 read and wrote each byte of device memory once.
PLANES = {
    (1, 16, 12, 480): (1.2, 1.05),
    (1, 16, 24, 240): (1.2, 1.05),
    (1, 32, 90, 120): (1.4, 1.05),
    (1, 64, 45, 60): (1.8, 1.05),
    (1, 64, 23, 30): (2.5, 1.05),
    (1, 11, 45, 61): (2.5, 1.3),
    (1, 17, 33, 30): (2.5, 1.5),
    (1, 3, 64, 66): (2.8, 1.7),
    (1, 1, 40, 50): (3.1, 2.4),
}


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("unpool", [False, True], ids=["pool", "unpool"])
@pytest.mark.parametrize("layout", kernel_report.LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", PLANES, ids=str)
def test_accesses_move_few_bytes_beyond_those_needed(
    recorder: ctypes.CDLL, shape: tuple[int, ...], kind: str, layout: str, unpool: bool
) -> None:
    limit = PLANES[shape][layout != "NCHW"]
    for processors in PROCESSORS:
        ratio, _ = record(recorder, unpool, kind, layout, shape, processors)
        assert ratio <= limit


# A text in the kernels, its replacement, and a shape for which the kernels run that code.
NARROW, WIDE = (1, 17, 9, 7), (1, 16, 9, 64)
COUNTED = {
    "double-write-narrow": ("store(to + 1, row.of[1]", "store(to, row.of[1]", NARROW),
    "missed-write-narrow": ("if (right) store(to + 1", "if (false) store(to + 1", NARROW),
    "double-write-wide": ("On::write(to + half * s.w, row", "On::write(to, row", WIDE),
    "missed-write-wide": ("if (half && !below) continue;", "if (half) continue;", WIDE),
}


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("name", COUNTED)
def test_counts_catch_a_broken_kernel(name: str, tmp_path: Path) -> None:
    old, new, shape = COUNTED[name]
    library = kernel_report.compile_recorder(tmp_path, broken(tmp_path, (old, new)))
    row = kernel_report.record(library, True, "fp32", "NCHW", shape)
    assert row["full_accesses"] != [1, 1]


@pytest.mark.needs("compiler")
def test_recorder_catches_an_unaligned_row(tmp_path: Path) -> None:
    sources = broken(tmp_path, ("return on.s.w % kWidth == 0 &&", "return on.s.w % 2 == 0 &&"))
    library = kernel_report.compile_recorder(tmp_path, sources)
    assert kernel_report.record(library, False, "fp32", "NCHW", (1, 16, 4, 30))["unaligned"] > 0


@pytest.mark.needs("compiler")
def test_recorder_catches_scattered_accesses(recorder: ctypes.CDLL, tmp_path: Path) -> None:
    scattered = (
        "const uint32_t column = columns.take(&thread), part = parts.take(&thread);\n"
        "    const uint32_t row = rows.take(&thread), word = words.take(&thread);",
        "const uint32_t row = rows.take(&thread), column = columns.take(&thread);\n"
        "    const uint32_t part = parts.take(&thread), word = words.take(&thread);",
    )
    library = kernel_report.compile_recorder(tmp_path, broken(tmp_path, scattered))
    shape = (1, 16, 64, 480)
    ratio, _ = record(recorder, False, "fp32", "NCHW", shape)
    assert record(library, False, "fp32", "NCHW", shape)[0] > 2 * ratio


WRONG = {
    "narrow": ("{true, right, below, right && below}", "{true, right, below, below}", NARROW),
    "wide": ("code = (e * Lanes<T>::kOnes & mask)", "code = (Lanes<T>::kOnes & mask)", WIDE),
}


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("name", WRONG)
def test_table_catches_a_wrong_index(name: str, tmp_path: Path) -> None:
    old, new, shape = WRONG[name]
    library = compile_host(tmp_path, broken(tmp_path, (old, new)))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with pytest.raises(AssertionError):
        check(library, x, "fp32", True, "NCHW")
