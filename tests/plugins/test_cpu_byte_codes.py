"""The op pair with one code per byte on the table of cases: native code and numpy."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segnet_deploy.native import max_unpool
from segnet_deploy.native.find import find_library

ROOT = Path(__file__).parents[2]
IMPLEMENTATIONS = ("native", "numpy")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Return the installed library, or build it. `make test` reinstalls it after a change."""
    installed = find_library("segnet_cpu")
    if installed is not None:
        return ctypes.CDLL(str(installed))
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("no cmake and C++ compiler on PATH")
    build = tmp_path_factory.mktemp("build")
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release"],
        ["cmake", "--build", str(build), "--target", "segnet_cpu"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return ctypes.CDLL(str(next(build.rglob("libsegnet_cpu.*"))))


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Run the operations natively, then in numpy."""
    native = request.getfixturevalue("library") if request.param == "native" else None
    monkeypatch.setattr(max_unpool, "_library", lambda: native)
    return request.param


def packed(x: Any, pack: int, gap: int = 0) -> Any:
    """Return (N, C, H, W) as planes (N * ceil(C / pack), H, W, pack) with `gap` rows between."""
    n, c, h, w = x.shape
    groups = -(-c // pack)
    full = np.zeros((n, groups * pack, h, w), x.dtype)
    full[:, :c] = x
    planes = full.reshape(n * groups, pack, h, w).transpose(0, 2, 3, 1)
    spaced = np.zeros((n * groups, h + gap, w, pack), x.dtype)
    spaced[:, :h] = planes
    return spaced[:, :h]


def unpacked(planes: Any, n: int, c: int) -> Any:
    count, h, w, pack = planes.shape
    return planes.transpose(0, 3, 1, 2).reshape(n, count // n * pack, h, w)[:, :c]


def pair(x: Any, ceil_mode: bool, pack: int, threads: int, gap: int = 0) -> tuple[Any, Any, Any]:
    """Return pooled values, codes and the unpooled planes, each (N, C, ...)."""
    n, c, h, w = x.shape
    planes = packed(x, pack, gap)
    size = max_unpool.pooled_size((h, w), ceil_mode)
    y = packed(np.zeros((n, c, *size), x.dtype), pack, gap)
    codes = max_unpool.pool(planes, y, ceil_mode, threads)
    back = packed(np.full_like(x, 77), pack, gap)
    max_unpool.unpool(y, codes, back, ceil_mode, threads)
    return unpacked(y, n, c), unpacked(codes, n, c), unpacked(back, n, c)


@pytest.mark.parametrize("pack", [1, 4, 8, 16])
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_pair_equals_pytorch_on_the_table(implementation: str, dtype: str, pack: int) -> None:
    for number, case in enumerate(cases.CASES):
        x = case.make()
        if dtype != "float32":
            x = cases.spread_over_int8(x)
            x = (x if dtype == "int8" else np.abs(x)).astype(dtype)
        y, index = F.max_pool2d(
            torch.from_numpy(x.astype(np.float32)), 2, 2, 0, 1, case.ceil_mode, True
        )
        z = F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=list(x.shape[2:]))
        got = pair(x, case.ceil_mode, pack, threads=1 + number % 3, gap=number % 2)
        assert np.array_equal(got[0], y.numpy()), str(case)
        assert np.array_equal(got[1], cases.codes_from_index(index.numpy(), x.shape[3])), str(case)
        assert np.array_equal(got[2], z.numpy()), str(case)


def test_nan_wins_as_in_pytorch(implementation: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 9, 7, 11)).astype(np.float32)
    x[rng.random(x.shape) < 0.3] = np.nan
    for ceil_mode in (False, True):
        y, index = F.max_pool2d(torch.from_numpy(x), 2, 2, 0, 1, ceil_mode, True)
        got = pair(x, ceil_mode, 8, threads=2)
        assert np.array_equal(got[0], y.numpy(), equal_nan=True)
        assert np.array_equal(got[1], cases.codes_from_index(index.numpy(), 11))


def test_unknown_pack_and_kind_fall_back_to_numpy(library: ctypes.CDLL) -> None:
    x = cases.PoolCase((1, 6, 5, 7), True, "ties").make()
    y, index = cases.pool_reference(x, True)
    assert np.array_equal(pair(x, True, 3, 1)[0], y)
    got = pair(x.astype(np.float64), True, 4, 1)
    assert np.array_equal(got[1], cases.codes_from_index(index, 7))


def test_wrong_sizes_are_an_error(implementation: str) -> None:
    x = np.zeros((2, 6, 8, 4), np.float32)
    y, codes = np.zeros((2, 3, 4, 4), np.float32), np.zeros((2, 3, 4, 4), np.uint8)
    max_unpool.unpool(y, codes, x, False)
    for wrong in (y[:, :2], y[:1], y[..., :1]):
        with pytest.raises(ValueError, match="expected"):
            max_unpool.unpool(wrong, codes, x, False)
    with pytest.raises(ValueError, match="expected"):
        max_unpool.unpool(y, codes, np.zeros((2, 5, 8, 4), np.float32), False)
    with pytest.raises(ValueError, match="257 classes"):
        max_unpool.label_map(np.zeros((257, 2, 2), np.float32))


@pytest.mark.needs("real-processor")
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space with Linux calls")
def test_one_thread_computes_all_rows_if_no_other_can_be_started(library: ctypes.CDLL) -> None:
    """No room for a thread's stack; an uncaught exception would end the process."""
    code = f"""
import ctypes, resource
import numpy as np
from segnet_deploy.native import max_unpool
native = ctypes.CDLL({library._name!r})
max_unpool._library = lambda: native
x = np.random.default_rng(0).standard_normal((4, 64, 64, 1)).astype(np.float32)
y, back = np.zeros((4, 32, 32, 1), np.float32), np.full_like(x, 7)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20),) * 2)
codes = max_unpool.pool(x, y, False, 4)
max_unpool.unpool(y, codes, back, False, 4)
blocks = x.reshape(4, 32, 2, 32, 2).transpose(0, 1, 3, 2, 4).reshape(4, 32, 32, 4)
assert np.array_equal(y[..., 0], blocks.max(-1))
assert np.array_equal(codes[..., 0], blocks.argmax(-1))
assert np.isclose(back.sum(), y.sum())
print("done")
"""
    command = ["sh", "-c", 'ulimit -s 8192; exec "$0" -c "$1"', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr


def test_label_map_is_the_first_maximum(implementation: str) -> None:
    logits = np.random.default_rng(1).integers(-3, 4, (11, 45, 61)).astype(np.float32)
    assert np.array_equal(max_unpool.label_map(logits), logits.argmax(0))
    apart = np.zeros((11, 47, 61), np.float32)
    apart[:, :45] = logits
    assert np.array_equal(max_unpool.label_map(apart[:, :45]), logits.argmax(0))
